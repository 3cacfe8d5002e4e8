"""Works out the verdict of a run as it would stand now, in a process of its own that lets others go first."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.store.files import read_json
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.runs.table import VERDICT_FILE
from thermograd.store.version import __version__


def verdict_of(run_dir: Path) -> dict[str, Any]:
    """Return the plain words of a run's verdict: its report's, where that is of all that is logged."""
    return _of_report(run_dir) or _worked_out(run_dir)


def _of_report(run_dir: Path) -> dict[str, Any] | None:
    told = read_json(run_dir / "report" / VERDICT_FILE)
    counted = {f"{kind}s": count_events(run_dir, kind) for kind in ("step", "sample")}
    if told.get("version") != __version__ or any(told.get(name) != count for name, count in counted.items()):
        return None
    screen = told.get("screen")
    return screen if isinstance(screen, dict) and isinstance(screen.get("facts"), dict) else None


def _worked_out(run_dir: Path) -> dict[str, Any]:
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series
    from thermograd.analysis.run.wording.plain_words import first_screen
    from thermograd.store.runs.catalogue import Run

    run = Run(run_dir)
    series = load_series(run)
    screen = first_screen(analyze_run(run, series=series))
    return screen.to_json() | {"span_s": series.training_s}


def main() -> None:
    """Print the verdict, or why there is none, as one line of JSON."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(19)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        told = verdict_of(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - said to the server in a sentence, which the page shows
        told = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(told, default=str))


if __name__ == "__main__":
    main()
