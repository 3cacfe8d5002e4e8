"""Reports of 1, 8 and 64 devices, of a minute, a day and a week, and of a machine with a CPU only.

Time, peak memory and bytes of the page; each report in a process of its own. With ``--output`` the reports
stay, to be looked at.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rows import HEADER, load, parser, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

_MINUTE, _DAY, _WEEK = 60.0, 86_400.0, 604_800.0
_LIMIT_MB = 10.0
RUNS: dict[str, dict[str, Any]] = {
    f"{devices} devices, {name}": {"devices": devices, "seconds": seconds, "alerts": alerts}
    | {"samples": samples, "steps": steps}
    for devices in (0, 1, 8, 64)
    for name, seconds, samples, steps, alerts in (
        ("a minute", _MINUTE, 120, 120, 0),
        ("a day", _DAY, 8640, 40_000, 700),
        ("a week", _WEEK, 10_080, 300_000, 5000),
    )
}


def report(name: str, output: Path, quick: bool) -> None:
    """Write a run and its report; print MB of the page, seconds, and peak memory in GiB."""
    from scale_runs import scale_run
    from thermograd.analysis.report.run_report import write_report
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series

    size = RUNS[name]
    if quick:
        size = size | {"samples": min(size["samples"], 300), "steps": min(size["steps"], 300)}
    run = scale_run(output / "runs", **size, name=name)
    series = load_series(run)
    y = "temperature_c" if size["devices"] else None  # one pair of each device: this is no test of the tests
    analysis = analyze_run(run, "grad_norm" if y else None, y, series=series)
    begun = time.perf_counter()
    page = write_report(run, analysis, output / name.replace(", ", "-").replace(" ", "-"), series=series)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(page["report"].stat().st_size / 1e6, seconds, peak)


def main() -> None:
    """Measure and print the rows."""
    options = parser(__doc__)
    options.add_argument("--output", type=Path)
    options.add_argument("--only", choices=list(RUNS))
    options.add_argument("--one", choices=list(RUNS), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        report(given.one, given.output, given.quick)
        return
    print(f"{load()}\n\n{HEADER}")
    with tempfile.TemporaryDirectory() as folder:
        for name in [given.only] if given.only else RUNS:
            command = [sys.executable, __file__, "--one", name, "--output", str(given.output or folder)]
            command += ["--quick"] * given.quick
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            size, seconds, peak = map(float, answer.split())
            shown = f"{size:.2f} MB", f"{seconds:.1f} s", f"{peak:.2f} GiB"
            print(row(f"page, {name}", f"<= {_LIMIT_MB:.0f} MB", *shown, size <= _LIMIT_MB))


if __name__ == "__main__":
    main()
