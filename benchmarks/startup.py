"""How long the command line takes to say its help, against an empty Python: pairs in turn."""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

CLI = str(Path(__file__).parents[1] / "cli.py")


def seconds(*command: str) -> float:
    """Run a command and return its wall time in seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    seconds(CLI, "--help")
    times = [(seconds("-c", "pass"), seconds(CLI, "--help")) for _ in range(pairs)]
    empty, help_ = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"cli.py --help: {1e3 * help_:.1f} ms; python -c pass: {1e3 * empty:.1f} ms; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
