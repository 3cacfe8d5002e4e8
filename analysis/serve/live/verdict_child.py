"""Works out the verdict of a run as it would stand now, in a process of its own that lets others go first."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any


def verdict_of(run_dir: Path) -> dict[str, Any]:
    """Return the plain words of a run's verdict by what is logged of it."""
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series
    from thermograd.analysis.run.wording.plain_words import first_screen
    from thermograd.store.runs.catalogue import Run

    run = Run(run_dir)
    series = load_series(run)
    screen = first_screen(analyze_run(run, series=series))
    return asdict(screen) | {"facts": screen.facts, "span_s": series.training_s}


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
