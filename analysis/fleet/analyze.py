"""The analysis of a whole fleet: every run by itself on an engine, then what they say together."""

import math
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.fleet.discoveries import LEVEL, Method, discoveries, method_for
from thermograd.analysis.fleet.engines.choice import Engine, advice, workers_for
from thermograd.analysis.fleet.engines.chunks import chunks_of, gathered
from thermograd.analysis.fleet.likeness import repeated
from thermograd.analysis.fleet.pair_statistics import counted_p
from thermograd.analysis.fleet.pooled import PooledPair, is_supported, pooled_pair
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.fleet.task import TASK_SCHEMA, analyse_chunk, failed_run
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.places.mirror import give_findings
from thermograd.store.query.data.findings import SCHEMA, write_findings
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.tags import read_tags
from thermograd.store.telling.devices import simulated_among

Grouping = Literal["model", "device", "host", "tag", "name"]
GROUPINGS: tuple[Grouping, ...] = ("model", "device", "host", "tag", "name")

_S_PER_RUN, _S_PER_PAIR, _S_PER_BIN = 0.04, 0.01, 2e-5  # of one core, measured (benchmarks/fleet_analysis.py)
_FEWEST_IN_GROUP, _MOST_GROUPS = 2, 50

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetAnalysis:
    """What an analysis of many runs found.

    Attributes
    ----------
    analysis_id
        Of its findings.
    findings
        A row for every run, pair of signals and kind of event (see `store.query.data.findings.SCHEMA`).
    runs, tested, failed, repeats
        How many runs were given, had anything to test, could not be read, and repeat another's training.
    tests
        Pairs and events that were tested in runs that count.
    method
        How false discoveries over runs were controlled: "BH" or "BY" (see `discoveries`).
    coupled
        Run ids in which something was found, the surest first.
    pooled
        Each pair of signals over all runs, the one best supported first, with p of the session swap corrected
        for all of them in `p_adjusted`, in the same order.
    groups
        Each pair of signals by group.
    engine, seconds
        What did the work, and how long that took.
    simulated
        The sentence that some runs' devices are; empty where none is.
    path
        Of the findings; None where they were not written.
    notes
        Sentences that a reader should know.
    """

    analysis_id: str
    findings: pa.Table
    runs: int
    tested: int
    failed: int
    repeats: int
    tests: int
    method: Method
    coupled: list[str]
    pooled: list[PooledPair]
    p_adjusted: list[float]
    groups: list[PooledPair] = field(default_factory=list)
    engine: str
    seconds: float
    simulated: str = ""
    path: Path | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def supported(self) -> list[PooledPair]:
        """The pairs of signals that are coupled on average."""
        return [pair for pair, p in zip(self.pooled, self.p_adjusted, strict=True) if is_supported(pair, p)]

    @property
    def untested(self) -> list[tuple[str, str]]:
        """The runs in which nothing was tested, each with the reason."""
        rows = self.findings.select(["run_id", "kind", "verdict", "p_adjusted", "error"]).to_pylist()
        tested = {row["run_id"] for row in rows if row["p_adjusted"] is not None}
        why = {row["run_id"]: row["error"] for row in reversed(rows) if row["error"]}
        return [
            (row["run_id"], why.get(row["run_id"]) or "no pair of its signals can be tested")
            for row in rows
            if row["kind"] == "run" and row["verdict"] != "repeat" and row["run_id"] not in tested
        ]

    def rows(self, kind: str, *verdicts: str) -> list[Row]:
        """Return findings of a kind, of some verdicts."""
        table = self.findings.filter(pa.compute.equal(self.findings["kind"], kind))
        wanted = pa.compute.is_in(table["verdict"], pa.array(verdicts))
        return table.filter(wanted).to_pylist()  # type: ignore[no-any-return]

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``analyze --all --json``."""
        found = [
            {name: value for name, value in row.items() if name != "profile"}
            for kind in ("pair", "event")
            for row in self.rows(kind, "coupled", "single_event")
        ]
        counts = (
            "analysis_id",
            "runs",
            "tested",
            "failed",
            "repeats",
            "tests",
            "method",
            "coupled",
            "engine",
            "simulated",
        )
        return {
            **{name: getattr(self, name) for name in counts},
            "seconds": self.seconds,
            "findings": found,
            "errors": [{k: row[k] for k in ("run_id", "error")} for row in self.rows("run", "error")],
            "untested": [{"run_id": run_id, "reason": reason} for run_id, reason in self.untested],
            "pooled": [
                asdict(pair) | {"p_adjusted": p} for pair, p in zip(self.pooled, self.p_adjusted, strict=True)
            ],
            "groups": [asdict(pair) for pair in self.groups],
            "path": None if self.path is None else str(self.path),
            "notes": self.notes,
        }


def analyze_fleet(
    runs: Sequence[Run],
    question: Question | None = None,
    *,
    engine: Engine = "local",
    address: str | None = None,
    by: Grouping = "model",
    write_to: Path | None = None,
    progress: Progress | None = None,
) -> FleetAnalysis:
    """Test every run for coupling, and say what they show together.

    Parameters
    ----------
    runs
        At least one.
    question
        Which signals are tested; default the gradient norm and the loss against what the sensors tell.
    engine, address
        Where the work is done: on this machine's cores, or on the Ray or Dask cluster at the address (one is
        made on this machine where none is given). The findings are the same to the last bit.
    by
        What runs are grouped by.
    write_to
        The directory of runs beside which the findings are written; where it mirrors a URL, also to that.
    progress
        Called with how many runs are done, of how many.

    Raises
    ------
    NotEnoughDataError
        If there is no run.
    MissingExtraError
        If the engine's package is not installed.
    """
    if not runs:
        raise NotEnoughDataError("there is no run to analyse")
    asked, began_s = question or Question(), time.monotonic()
    work_s = expected_s(runs, asked)
    workers = workers_for(partial(analyse_chunk, asked), engine, address, work_s)
    table = gathered(chunks_of(runs), workers, failed_run, progress)
    analysis_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
    result = reduced(table, runs, by, analysis_id=analysis_id)
    notes = [advice(engine, work_s)] if advice(engine, work_s) else []
    path = None if write_to is None else write_findings(write_to, analysis_id, result["findings"])
    if path is not None and (left := give_findings(path)) is not None:
        notes.append(left)
    return FleetAnalysis(
        **result,
        analysis_id=analysis_id,
        runs=len(runs),
        engine=workers.name,
        simulated=simulated_among([run.facts.get("devices", {}) for run in runs]),
        seconds=time.monotonic() - began_s,
        path=path,
        notes=notes,
    )


def expected_s(runs: Sequence[Run], question: Question) -> float:
    """Return how long one core would take, by the names of the files: some seconds more or less."""
    total = _S_PER_RUN * len(runs)
    for run in runs:
        devices = max(len(run.facts.get("devices", {})), 1)
        steps, samples = (_count(run, kind) for kind in ("step", "sample"))
        bins = min(steps, samples / devices)
        total += devices * len(question.x) * len(question.y) * (_S_PER_PAIR + _S_PER_BIN * bins)
    return total


def _count(run: Run, kind: str) -> int:
    """Return how many events a run has; of one at a URL what its catalogue tells, for they are not here."""
    told = run.entry.get(f"{kind}s")
    return told if isinstance(told, int) else count_events(run.path, kind)


def reduced(table: pa.Table, runs: Sequence[Run], by: Grouping, *, analysis_id: str = "") -> dict[str, Any]:
    """Return what the tasks' rows say together: the fields of `FleetAnalysis` that depend on nothing else."""
    assert table.schema.equals(TASK_SCHEMA)
    rows = table.to_pylist()
    for row in rows:
        row["analysis_id"] = analysis_id
    own = [row for row in rows if row["kind"] == "run"]
    tests = [row for row in rows if row["kind"] != "run"]
    _mark_repeats(own, tests)
    counted = [row for row in own if row["verdict"] == "tested"]
    method = _judge(counted, [row for row in tests if row["verdict"] == "tested"])
    pairs = [row for row in tests if row["kind"] == "pair" and row["profile"] and row["verdict"] != "repeat"]
    pooled = [pair for _, some in _by_pair(pairs) if (pair := pooled_pair(some, swap=True)) is not None]
    adjusted = holm([math.nan if pair.p_swap is None else pair.p_swap for pair in pooled]).tolist()
    order = sorted(range(len(pooled)), key=lambda k: (_or(adjusted[k], 2.0), -abs(pooled[k].r)))
    found = sorted(
        (row for row in tests if row["verdict"] == "coupled"),
        key=lambda row: (row["q"], row["p"], row["run_id"]),
    )
    return {
        "findings": pa.Table.from_pylist(rows, schema=SCHEMA),
        "tested": len({row["run_id"] for row in tests if row["p_adjusted"] is not None}),
        "failed": sum(row["verdict"] == "error" for row in own),
        "repeats": sum(row["verdict"] == "repeat" for row in own),
        "tests": sum(row["p_adjusted"] is not None for row in tests),
        "method": method,
        "coupled": list(dict.fromkeys(row["run_id"] for row in found)),
        "pooled": [pooled[k] for k in order],
        "p_adjusted": [adjusted[k] for k in order],
        "groups": _groups(pairs, runs, by),
    }


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _mark_repeats(own: list[Row], tests: list[Row]) -> None:
    """Tell runs whose training is another's: copies are one piece of evidence, the first run's."""
    again = repeated([row["digest"] for row in own], [row["likeness"] for row in own])
    of = {own[later]["run_id"]: own[first]["run_id"] for later, first in again.items()}
    for row in (*own, *tests):
        if row["run_id"] in of and row["verdict"] == "tested":
            row["verdict"], row["repeats"] = "repeat", of[row["run_id"]]


def _judge(own: list[Row], tests: list[Row]) -> Method:
    """Give every test its corrected p and its verdict; return how false discoveries were controlled."""
    times = [[row[name] for row in own] for name in ("host", "began_ns", "ended_ns")]
    method = method_for(*times)
    place = {row["run_id"]: number for number, row in enumerate(own)}
    p = np.array([counted_p(row) for row in tests])
    found = discoveries(p, [place[row["run_id"]] for row in tests], len(own), method)
    for row, adjusted, is_found in zip(tests, found.p_adjusted.tolist(), found.found.tolist(), strict=True):
        q = float(found.run_q[place[row["run_id"]]])
        if math.isfinite(adjusted):
            row["p_adjusted"], row["q"] = adjusted, q
        row["verdict"] = "coupled" if is_found else _not_found(row)
    for row, q in zip(own, found.run_q.tolist(), strict=True):
        row["q"] = q if math.isfinite(q) else None
        row["verdict"] = "coupled" if q <= LEVEL else "inconclusive"
    return method


def _not_found(row: Row) -> str:
    """Tell what rests on one event apart: without it nothing is left."""
    by_itself = row["p"] is not None and row["p"] <= LEVEL
    held = row["guard_p"] is None or row["guard_p"] <= LEVEL
    return "single_event" if by_itself and not held else "inconclusive"


def _by_pair(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], list[Row]]]:
    pairs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        pairs[row["x"], row["y"]].append(row)
    yield from pairs.items()


def _groups(rows: Sequence[Row], runs: Sequence[Run], by: Grouping) -> list[PooledPair]:
    """Pool by group, where there are two groups or more; the largest first."""
    groups: dict[str, list[Row]] = defaultdict(list)
    names = _names(runs, by)
    for row in rows:
        for name in names.get(row["run_id"], []) if by in ("tag", "name") else [row[by]]:
            groups[str(name or "not recorded")].append(row)
    if len(groups) < 2:
        return []
    largest = sorted(groups.items(), key=lambda each: (-len({row["run_id"] for row in each[1]}), each[0]))
    found = [
        pooled_pair(some, f"{by}: {name}")
        for name, rows in largest[:_MOST_GROUPS]
        for _, some in _by_pair(rows)
    ]
    return [pair for pair in found if pair is not None and pair.runs >= _FEWEST_IN_GROUP]


def _names(runs: Sequence[Run], by: Grouping) -> Mapping[str, list[str]]:
    if by == "tag":
        return {run.run_id: read_tags(run.path).tags or ["no tag"] for run in runs}
    return {run.run_id: [run.name] for run in runs} if by == "name" else {}
