"""What the log's benchmarks share: one table row a goal, the peers' Python, paired ratios."""

import argparse
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HEADER", "load", "paired", "parser", "peers_python", "row"]

HEADER = "| what | goal | measured | peer | ratio | |\n|---|---|---|---|---|---|"


def row(what: str, goal: str, measured: str, peer: str, ratio: str, reached: bool | None) -> str:
    """Return one markdown row; `reached` is None for a value that is only for reference."""
    word = {True: "pass", False: "miss", None: "for reference"}[reached]
    return f"| {what} | {goal} | {measured} | {peer} | {ratio} | {word} |"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """Return the median of the ratios, each within one round, and a text with their range."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    middle = statistics.median(ratios)
    return middle, f"{middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


def peers_python() -> Path | None:
    """Return the Python of the peers' environment (``peers_env.sh``), or None where there is none."""
    path = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
    return path if path.exists() else None


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all of these benchmarks have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--quick", action="store_true", help="small and few: does it run at all")
    result.add_argument("--rounds", type=int, default=None, help="pairs A B A B ...")
    result.add_argument("--seed", type=int, default=0)
    return result


def load() -> str:
    """Return the machine's load, which every row should be read with."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
