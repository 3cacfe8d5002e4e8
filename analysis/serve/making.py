"""The process that makes one report or comparison for the server: asked on stdin, telling a line a step.

It reads the runs, and writes into the server's own folder alone.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.store.errors import ThermogradError
from thermograd.store.query.interrupt import end_with_parent
from thermograd.store.text import printable_lines, shortened

_NICER = 10  # than a training beside us
_LONGEST_ERROR = 2000


def main() -> None:
    """Make what one line of JSON on stdin asks for."""
    asked = json.loads(sys.stdin.readline())
    end_with_parent(asked["parent"])
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICER)
    try:
        _make([Path(path) for path in asked["runs"]], Path(asked["into"]))
    except (ThermogradError, MemoryError) as error:
        text = str(error) or "this machine has not enough memory for it"
        _tell(error=printable_lines(shortened(text, _LONGEST_ERROR)))
    else:
        _tell(done=True)


def _make(paths: list[Path], into: Path) -> None:
    from thermograd.store.runs.catalogue import Run

    runs = [Run(path) for path in paths]
    made = _report(runs[0], into) if len(runs) == 1 else _comparison(runs, into)
    made.replace(into / "report.html")


def _report(run: Any, into: Path) -> Path:
    from thermograd.analysis.report.run_report import write_report
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series

    _tell(doing="reading the run")
    series = load_series(run)
    _tell(doing="testing for a link")
    analysis = analyze_run(run, series=series)
    _tell(doing="drawing")
    return write_report(run, analysis, into, series=series, remember=False)["report"]


def _comparison(runs: list[Any], into: Path) -> Path:
    from thermograd.analysis.comparison.compare import compare_runs
    from thermograd.analysis.report.comparison_report import write_comparison

    _tell(doing="reading and comparing the runs")
    comparison = compare_runs(runs)
    _tell(doing="drawing")
    return write_comparison(comparison, into)["report"]


def _tell(**told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - the server reads it


if __name__ == "__main__":
    main()
