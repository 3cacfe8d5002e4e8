"""Which device is bad: counts all runs in chunks, judges every unit, and says what could have been seen."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import pyarrow as pa
from thermograd.analysis.fleet.devices.cells import Cells, Unit
from thermograd.analysis.fleet.devices.counting import SCHEMA, cells_by_kind, count_paths, failed_count
from thermograd.analysis.fleet.devices.excess import Judged, Standing, judge
from thermograd.analysis.fleet.engines.choice import Engine, workers_for
from thermograd.analysis.fleet.engines.chunks import chunks_of, gathered
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import simulated_among

_S_PER_EVENT = 4e-6  # of one core (benchmarks/fleet_devices.py)
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
    nine times in ten (of a unit of middling exposure), None where none would. `simulated` is the sentence
    that some runs' devices are; empty where none is.
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
    simulated: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as an object of JSON."""
        return asdict(self)


def survey(counted: pa.Table, by: str | None = None) -> Survey:
    """Judge what `count_paths` has counted; `by` is one level, by default all that are known.

    Raises ValueError where the runs do not know the level.
    """
    failed = counted.filter(counted["error"].is_valid()).select(["run_id", "error"]).to_pylist()
    counted_cells = cells_by_kind(counted)
    everything = Cells([cell for of in counted_cells.values() for cell in of])
    if by is not None and by not in everything.levels and everything.cells:
        raise ValueError(f"no run knows a {by!r}; allowed: {', '.join(everything.levels)}")
    asked = None if by is None else (by,)
    levels = everything.levels if by is None else (by,)
    kinds = {
        k: Cells(cells, asked) for k, cells in sorted(counted_cells.items()) if any(c.events for c in cells)
    }
    judged = judge(kinds)
    q = judged.q_values()
    named = [_bad(s, judged, q, kinds) for s in judged.named]
    taken = {(s.kind, s.unit) for s in judged.named}
    close = [s for s in judged.standings if q[s.kind, s.unit] <= LISTED_Q and (s.kind, s.unit) not in taken]
    listed = [_bad(s, judged, q, kinds) for s in sorted(close, key=lambda s: s.p)[:_MOST_LISTED]]
    return Survey(
        runs=len(set(counted["run_id"].to_pylist())),
        units={n: len(of) for n in levels if (of := everything.level(n).members)},
        compared=_compared(judged.standings),
        events={kind: int(cells.events.sum()) for kind, cells in kinds.items()},
        tests=judged.family,
        named=named,
        listed=listed,
        detectable=[
            {"kind": kind, "level": level, "ratio": ratio}
            for (kind, level), ratio in sorted(judged.detectable.items())
        ],
        failed=failed,
    )


def _compared(standings: Iterable[Standing]) -> dict[str, int]:
    units = {standing.unit for standing in standings}
    return {level: sum(u.level == level for u in units) for level in sorted({u.level for u in units})}


def survey_runs(
    runs: Sequence[Run],
    by: str | None = None,
    engine: Engine = "local",
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Count the events of all runs on an engine, and judge their devices; as `survey`."""
    if not runs:
        return survey(SCHEMA.empty_table(), by)
    work_s = _S_PER_EVENT * sum(count_events(run.path, kind) for run in runs for kind in ("step", "sample"))
    workers = workers_for(count_paths, engine, address, work_s)
    found = survey(gathered(chunks_of(runs), workers, failed_count, progress), by)
    return replace(found, simulated=simulated_among([run.facts.get("devices", {}) for run in runs]))


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
