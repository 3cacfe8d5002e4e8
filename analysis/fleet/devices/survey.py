"""Which device is bad: counts all runs in chunks, judges every unit, and says what could have been seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Any

import pyarrow as pa
from thermograd.analysis.fleet.devices.cells import Cells, Unit
from thermograd.analysis.fleet.devices.counting import SCHEMA, cells_by_kind, count_events
from thermograd.analysis.fleet.devices.excess import Judged, Standing, judge
from thermograd.store.runs.catalogue import Run

CHUNK_RUNS = 100
LISTED_Q = 0.1  # false-discovery rate of the list
_MOST_LISTED = 50


@dataclass(frozen=True)
class BadUnit:
    """A unit with more events than its peers.

    `ratio` is its rate over that of its peers, with a 95 % interval; `p_family` the probability that any unit
    of a fleet without a bad one stands out so far; `q` the false-discovery rate at which it is listed. `also`
    are units with the very same runs, which cannot be told from it.
    """

    level: str
    name: str
    kind: str
    events: int
    expected: float
    ratio: float | None
    ratio_low: float
    ratio_high: float | None
    p_family: float
    q: float
    runs: int
    also: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What all runs say about their devices.

    `units` there are by level, of which so many were `compared` with others: those that always ran together
    cannot be. `named` stand out at the family's level; `listed` at a false-discovery rate of `LISTED_Q`: they
    are worth a look. `detectable` has by kind and level the smallest rate ratio that would have been named
    nine times in ten (of a unit of middling exposure), None where none would.
    """

    runs: int
    units: dict[str, int]
    compared: dict[str, int]
    events: dict[str, int]
    tests: int
    named: list[BadUnit]
    listed: list[BadUnit]
    detectable: list[dict[str, Any]]
    failed: list[dict[str, str]]


def survey(counted: pa.Table, by: str | None = None, failed: Sequence[dict[str, str]] = ()) -> Survey:
    """Judge what `count_events` has counted; `by` is one level, by default all that are known.

    Raises ValueError where the runs do not know the level.
    """
    counted_cells = cells_by_kind(counted)
    everything = Cells([cell for of in counted_cells.values() for cell in of])
    if by is not None and by not in everything.levels and counted_cells:
        raise ValueError(f"no run knows a {by!r}; allowed: {', '.join(everything.levels)}")
    asked = None if by is None else (by,)
    kinds = {kind: Cells(cells, asked) for kind, cells in sorted(counted_cells.items())}
    judged = judge(kinds)
    q = judged.q_values()
    named = [_bad(s, judged, q, kinds) for s in judged.named]
    taken = {(s.kind, s.unit) for s in judged.named}
    close = [s for s in judged.standings if q[s.kind, s.unit] <= LISTED_Q and (s.kind, s.unit) not in taken]
    listed = [_bad(s, judged, q, kinds) for s in sorted(close, key=lambda s: s.p)[:_MOST_LISTED]]
    return Survey(
        runs=len(set(counted["run_id"].to_pylist())),
        units={level: len(everything.level(level).members) for level in everything.levels},
        compared=_compared(judged.standings),
        events={kind: int(cells.events.sum()) for kind, cells in kinds.items()},
        tests=judged.family,
        named=named,
        listed=listed,
        detectable=[
            {"kind": kind, "level": level, "ratio": ratio}
            for (kind, level), ratio in sorted(judged.detectable.items())
        ],
        failed=list(failed),
    )


def _compared(standings: Iterable[Standing]) -> dict[str, int]:
    units = {standing.unit for standing in standings}
    return {level: sum(u.level == level for u in units) for level in sorted({u.level for u in units})}


def count_all(runs: Iterable[Run]) -> tuple[pa.Table, list[dict[str, str]]]:
    """Count the events of runs in chunks; a run that cannot be read is told, and the others count."""
    tables, failed = [SCHEMA.empty_table()], []
    waiting = iter(runs)
    while chunk := list(islice(waiting, CHUNK_RUNS)):
        try:
            tables.append(count_events(chunk))
        except Exception:  # noqa: BLE001 - one poisoned run must not take the chunk with it: each by itself
            for run in chunk:
                try:
                    tables.append(count_events([run]))
                except Exception as error:  # noqa: BLE001 - told as a row with its error
                    failed.append({"run_id": run.run_id, "error": f"{type(error).__name__}: {error}"})
    return pa.concat_tables(tables), failed


def _bad(
    standing: Standing, judged: Judged, q: dict[tuple[str, Unit], float], kinds: dict[str, Cells]
) -> BadUnit:
    low, high = standing.strata.ratio_interval(standing.events)
    unit = standing.unit
    return BadUnit(
        level=unit.level,
        name=unit.name,
        kind=standing.kind,
        events=standing.events,
        expected=standing.expected,
        ratio=standing.ratio if isfinite(standing.ratio) else None,
        ratio_low=low,
        ratio_high=high if isfinite(high) else None,
        p_family=judged.p_family(standing),
        q=q.get((standing.kind, unit), 1.0),
        runs=standing.runs,
        also=tuple(_alike(unit, kinds[standing.kind])),
    )


def _alike(unit: Unit, cells: Cells) -> Iterable[str]:
    """Yield units of other levels, and others of its own, with the very same cells."""
    own = cells.level(unit.level).members[unit.name]
    for level in cells.levels:
        for name, where in cells.level(level).members.items():
            if Unit(level, name) != unit and len(where) == len(own) and (where == own).all():
                yield f"{level} {name}"
