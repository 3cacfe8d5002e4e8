"""What the writers of a run could not write, as they counted it themselves."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from thermograd.store.log.reader import read_kind


def never_written(run_dir: Path) -> int:
    """Return how many events the `gap` marks of a run's writers say could not be written."""
    marks = read_kind(run_dir, "mark")
    return sum(map(_lost, marks.filter(pc.equal(marks["mark"], "gap"))["detail"].to_pylist()))


def _lost(detail: Any) -> int:
    with suppress(TypeError, ValueError, KeyError, RecursionError):
        lost = json.loads(detail)["lost"]
        return max(lost, 0) if type(lost) is int else 0
    return 0
