"""Within one job: which rank or device stands out against the others, or that none does.

The job is cut into parts. How long a rank works is compared by `peers`; what happens now and then
(throttling, memory errors, Xids, losses that are not finite, silence) by how often it began, with the exact
tests that compare devices over runs. What lasts over several parts began once: a device that throttles from
some hour on to the end is one event, and may be any. It is told, and accused of nothing. Each of the two
comparisons has half of the probability of a false accusation.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from thermograd.analysis.fleet.devices import FEWEST_RANKS
from thermograd.analysis.fleet.devices.cells import DEVICE, Cell, Cells, Place
from thermograd.analysis.fleet.devices.event_sql import SAMPLES_BY_BLOCK, STEPS_BY_BLOCK, XIDS
from thermograd.analysis.fleet.devices.excess import ALPHA, Judged, Standing, judge
from thermograd.analysis.fleet.devices.peers import Slow, SlowTest, slow_ranks
from thermograd.store.labels.hosts import writer_places
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import device_labels
from thermograd.store.telling.quantities import counted
from thermograd.store.text import cell_text

BLOCKS = 20  # in which times are compared
PARTS = 100  # in which something happened or not
_SHARE = 2  # of ALPHA: slowness, and all else
RANK_KINDS = {
    "nonfinite_loss": "losses of its own that are not finite",
    "no_step": "no step at all",
}
DEVICE_KINDS = {
    "throttled": "throttling for heat or by the power brake",
    "ecc": "new memory errors",
    "xid": "Xid errors of the driver",
    "silence": "holes in the readings",
}
KINDS = RANK_KINDS | DEVICE_KINDS
_Happened = dict[str, dict[str, set[int]]]  # by kind and unit the blocks in which it happened


@dataclass(frozen=True)
class StandsOut:
    """A rank or device that stands out: in what, its ratio to its peers with a 95 % interval, and p.

    `p` is the probability of any such accusation, of any rank or device and in anything, in a job in which
    all are alike. A ratio is that of times, or of how often it began (`times`); None where no peer has any.
    """

    unit: str
    kind: str
    ratio: float | None
    ratio_low: float
    ratio_high: float | None
    p: float
    times: int | None = None


@dataclass(frozen=True)
class OneJob:
    """What a job's ranks and devices say of each other.

    `by_work`: times are those before the collective; None where no times could be compared. `detectable` is
    how many times longer a rank's time had to be to be told nine times in ten.
    `only_there`: what happened to one rank or device and to no other, too seldom to say that it will again.
    """

    ranks: int
    devices: int
    by_work: bool | None
    detectable: float | None
    named: list[StandsOut]
    only_there: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as an object of JSON."""
        return asdict(self)


def one_job(run: Run) -> OneJob:
    """Compare the ranks and devices of one run."""
    from thermograd.store.query import query

    asked = [sql.replace("$blocks", str(PARTS)) for sql in (STEPS_BY_BLOCK, SAMPLES_BY_BLOCK, XIDS)]
    steps, samples, xids = (query(sql, [run]).to_pylist() for sql in asked)
    slow, by_work = _slow(steps)
    labels = device_labels(run.facts.get("devices", {}))
    _name_by_host(run, samples)
    happened = _of_ranks(steps) | _of_devices(samples, xids)
    often = list(judged_blocks(happened, labels))
    return OneJob(
        ranks=len({row["rank"] for row in steps}),
        devices=len({row["device"] for row in samples}),
        by_work=by_work if slow.detectable is not None else None,
        detectable=slow.detectable,
        named=[*map(_slow_one, slow.named), *often],
        only_there=list(_only_there(happened, often, labels)),
    )


def _only_there(happened: _Happened, told: list[StandsOut], labels: Mapping[str, str]) -> Iterator[str]:
    """Yield what happened to one of several, and is not told as standing out."""
    known = {(each.kind, each.unit) for each in told}
    for kind, units in happened.items():
        having = [name for name, blocks in units.items() if blocks]
        if len(having) != 1 or len(units) < FEWEST_RANKS:
            continue
        name, share = labels.get(having[0], having[0]), len(units[having[0]]) / PARTS
        if (kind, name) not in known:
            yield f"{cell_text(name)} alone: {KINDS[kind]}, in {share:.0%} of the run; it may be chance"


def _slow(steps: list[dict[str, Any]]) -> tuple[SlowTest, bool]:
    """Compare ranks by the time before the collective where all log it, else by whole steps."""
    of_work, of_steps = _by_rank(steps, "by_work"), _by_rank(steps, "by_step")
    by_work = bool(of_work) and len(of_work) == len({row["rank"] for row in steps})
    return slow_ranks(of_work if by_work else of_steps, ALPHA / _SHARE), by_work


def _by_rank(steps: list[dict[str, Any]], column: str) -> dict[int, Any]:
    ratios: dict[int, list[list[float]]] = {}
    for row in steps:
        value = row[column]
        if value is not None and math.isfinite(value) and value > 0:
            of_rank = ratios.setdefault(row["rank"], [[] for _ in range(BLOCKS)])
            of_rank[row["block"] * BLOCKS // PARTS].append(value)
    return {
        rank: np.array([np.median(values) if values else np.nan for values in blocks])
        for rank, blocks in ratios.items()
    }


def _of_ranks(steps: list[dict[str, Any]]) -> _Happened:
    ranks = {row["rank"] for row in steps}
    there = {(row["rank"], row["block"]) for row in steps}
    alive = {block for _, block in there}
    lost = {(row["rank"], row["block"]) for row in steps if row["nonfinite_loss"]}
    return {
        "nonfinite_loss": {f"rank {r}": {b for b in alive if (r, b) in lost} for r in ranks},
        "no_step": {f"rank {r}": {b for b in alive if (r, b) not in there} for r in ranks},
    }


def _name_by_host(run: Run, samples: list[dict[str, Any]]) -> None:
    """Name devices that are called alike on several hosts by these, too."""
    hosts = {each.writer: each.host for each in writer_places(run.writers())}
    on_hosts: dict[str, set[str | None]] = {}
    for row in samples:
        on_hosts.setdefault(row["device"], set()).add(hosts.get(row["writer"]))
    for row in samples:
        if len(on_hosts[row["device"]]) > 1:
            row["device"] = f"{hosts.get(row['writer'])}/{row['device']}"


def _of_devices(samples: list[dict[str, Any]], xids: list[dict[str, Any]]) -> _Happened:
    devices = {row["device"]: row for row in samples}
    told = {
        kind: {
            name: {row["block"] for row in samples if row["device"] == name and row[kind]} for name in devices
        }
        for kind in ("throttled", "ecc", "silence")
    }
    for name in devices:
        there = {row["block"] for row in samples if row["device"] == name}
        told["silence"][name] |= set(range(min(there), PARTS)) - there
    gpus = {name: row for name, row in devices.items() if name.startswith("GPU-")}
    told["xid"] = {
        name: {_block_of(x["time_ns"], row) for x in xids if x["device"] == name}
        for name, row in gpus.items()
    }
    return told


def _block_of(time_ns: int, row: Mapping[str, Any]) -> int:
    first, last = row["first_ns"], row["last_ns"]
    return int(min(PARTS - 1, max(0, (time_ns - first) * PARTS // (last - first + 1))))


def judged_blocks(happened: _Happened, labels: Mapping[str, str] | None = None) -> Iterator[StandsOut]:
    """Yield what stands out by how often something began, in parts in which it could."""
    kinds = {
        kind: Cells(list(_cells(units)), (DEVICE,))
        for kind, units in happened.items()
        if len(units) >= FEWEST_RANKS and any(units.values())
    }
    judged = judge(kinds, ALPHA / _SHARE)
    for standing in judged.named:
        yield _counted_one(standing, judged, labels or {})


def _cells(units: Mapping[str, set[int]]) -> Iterator[Cell]:
    for unit, blocks in units.items():
        for block in range(PARTS):
            if block - 1 not in blocks:
                yield Cell(f"block {block}", (block,), (Place(unit),), int(block in blocks), 1.0)


def _slow_one(slow: Slow) -> StandsOut:
    p = min(1.0, slow.p * _SHARE)
    return StandsOut(f"rank {slow.rank}", "slow", slow.ratio, slow.ratio_low, slow.ratio_high, p)


def _counted_one(standing: Standing, judged: Judged, labels: Mapping[str, str]) -> StandsOut:
    low, high = standing.strata.ratio_interval(standing.events)
    return StandsOut(
        labels.get(standing.unit.name, standing.unit.name),
        standing.kind,
        standing.ratio if math.isfinite(standing.ratio) else None,
        low,
        high if math.isfinite(high) else None,
        min(1.0, judged.p_family(standing) * _SHARE),
        standing.events,
    )


def one_job_text(job: OneJob) -> str:
    """Return what `devices RUN` prints."""
    return "\n".join(one_job_lines(job))


def one_job_lines(job: OneJob) -> list[str]:
    """Return who stands out in a job, or that none does, and what would have been seen."""
    of = [counted(job.ranks, "rank")] * (job.ranks > 1) + [counted(job.devices, "device")] * (job.devices > 1)
    lines = [_sentence(each, job) for each in job.named]
    none = (
        f"None stands out among {' and '.join(of)}."
        if of
        else "Nothing is compared: it needs two ranks or devices."
    )
    lines = lines or [none]
    return [*lines, *(f"{line}." for line in job.only_there), *_reach(job)]


def _reach(job: OneJob) -> Iterable[str]:
    if job.detectable is None:
        return
    seen = 100.0 * (job.detectable - 1.0)
    yield f"A rank whose {_time(job)} is {seen:.2g} % longer would have been seen, nine times in ten."
    if not job.by_work:
        yield (
            "Whole steps are alike in ranks that wait for each other: work_time_s, the time before the "
            "collective, tells them apart."
        )


def _sentence(each: StandsOut, job: OneJob) -> str:
    p = "less than 0.0001" if each.p < 1e-4 else f"{each.p:.1g}"
    chance = f"so far out by chance in {p} of jobs in which all are alike"
    if each.kind == "slow":
        more, low, high = (
            f"{100.0 * ((r or 1.0) - 1.0):.2g}" for r in (each.ratio, each.ratio_low, each.ratio_high)
        )
        longer = f"its {_time(job)} is {more} % longer than its peers' (95 %: {low} to {high} %)"
        return f"{each.unit}: {longer}; {chance}."
    ratio = "no peer has any" if each.ratio is None else f"{each.ratio:.2g} times its peers'"
    high_text = "no limit" if each.ratio_high is None else f"{each.ratio_high:.2g}"
    return (
        f"{cell_text(each.unit)}: {KINDS[each.kind]} began {counted(each.times or 0, 'time')}, {ratio} "
        f"(95 %: {each.ratio_low:.2g} to {high_text} times); {chance}."
    )


def _time(job: OneJob) -> str:
    return "work time" if job.by_work else "step time"
