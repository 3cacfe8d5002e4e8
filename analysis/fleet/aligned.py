"""The alignment of many runs in one SQL: how many steps found a sample, and the naive correlation of both."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from thermograd.analysis.fleet.question import Question
from thermograd.store.errors import ThermogradError
from thermograd.store.events import column_names
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run

_DERIVED = {"throttled_ratio", "rle"}


class Aligned(NamedTuple):
    """Steps of a run with a sample of a device within a second, and Pearson's r of the raw values."""

    matched: int
    naive_r: float | None


Key = tuple[str, str, str, str]  # run, device, x, y


def aligned_runs(runs: Sequence[Run], question: Question) -> dict[Key, Aligned]:
    """Align the steps and samples of runs; what is no column of theirs, or cannot be read, is left out."""
    pairs = [
        (x, y)
        for x in question.x
        for y in question.y
        if x in column_names("step") and y in column_names("sample") and y not in _DERIVED
    ]
    if not pairs or not runs:
        return {}
    try:
        rows = query(_sql(pairs), runs).to_pylist()
    except ThermogradError:
        if len(runs) == 1:
            return {}
        return {key: value for run in runs for key, value in aligned_runs([run], question).items()}
    return dict(_entries(rows, pairs))


def _sql(pairs: list[tuple[str, str]]) -> str:
    """Return one SQL over all runs; of several ranks it takes the lowest one's steps, as `analyze` does."""
    columns = []
    for number, (x, y) in enumerate(pairs):
        both = f"FILTER (isfinite({x}) AND isfinite(CAST({y} AS DOUBLE)))"
        columns += [f"count(*) {both} AS n{number}", f"corr({x}, {y}) {both} AS r{number}"]
    return (
        "WITH lowest AS (SELECT run_id, coalesce(min(rank), -1) AS lowest FROM steps GROUP BY run_id) "
        f"SELECT run_id, device, {', '.join(columns)} FROM aligned JOIN lowest USING (run_id) "
        "WHERE coalesce(rank, -1) = lowest GROUP BY run_id, device ORDER BY run_id, device"
    )


def _entries(rows: list[dict[str, object]], pairs: list[tuple[str, str]]) -> Iterable[tuple[Key, Aligned]]:
    for row in rows:
        for number, (x, y) in enumerate(pairs):
            r, n = row[f"r{number}"], row[f"n{number}"]
            known = isinstance(r, float) and math.isfinite(r)
            found = Aligned(int(str(n)), float(str(r)) if known else None)
            yield (str(row["run_id"]), str(row["device"]), x, y), found
