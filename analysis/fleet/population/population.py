"""A run's devices among the others of their models, at matched conditions, corrected for all comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.analysis.fleet.population.exported import Exported
from thermograd.analysis.fleet.population.peers import GROUP, Peers
from thermograd.analysis.fleet.population.standing import (
    FEWEST_OTHERS,
    Standing,
    others_needed,
    standing,
    unusual,
)
from thermograd.analysis.fleet.population.summaries import METRICS, Metric
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import device_labels, is_simulated, short_model
from thermograd.store.telling.quantities import counted
from thermograd.store.text import without_nan

_NOT_MEASURED = "not measured under load in this run"


@dataclass(slots=True)
class Compared:
    """One metric of one device among the others; without a `percentile` the `reason` says why.

    Attributes
    ----------
    metric, value, unit
        What was measured in this run.
    at, at_unit
        The cell in which it was compared (1,980 MHz), None where there is none.
    others, percentile, low, high, p
        See `standing.Standing`.
    p_adjusted, unusual
        After correction for all devices and metrics of the run.
    drivers
        How many driver versions are among the others.
    confounds
        What else may move it: not matched.
    """

    metric: str
    value: float | None = None
    unit: str = ""
    at: float | None = None
    at_unit: str = ""
    others: int = 0
    percentile: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    unusual: bool | None = None
    drivers: int | None = None
    confounds: str = ""
    reason: str | None = None


@dataclass(slots=True)
class DeviceStanding:
    """One device of the run: what it is compared with, and every metric."""

    device: str
    label: str
    model: str
    part: str
    power_limit_w: float | None
    simulated: bool
    metrics: list[Compared] = field(default_factory=list)


@dataclass(slots=True)
class Population:
    """How a run's devices stand.

    Attributes
    ----------
    run_id, source
        Which run; where the others come from: the directory of runs, or an exported file.
    devices
        Every device that was compared.
    tests
        Comparisons that were corrected for together.
    others_needed
        Other devices that it takes before anything can stand out of so many comparisons.
    errors
        Runs that could not be read, with why.
    """

    run_id: str
    source: str
    devices: list[DeviceStanding]
    tests: int
    others_needed: int
    errors: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; what is not known is null."""
        document = without_nan(asdict(self))
        assert isinstance(document, dict)
        return document


def population_of(
    run: Run,
    summaries: pa.Table,
    device: str | None = None,
    exported: Exported | None = None,
    errors: Mapping[str, str] | None = None,
) -> Population:
    """Return how each device of a run stands among its model's population.

    Parameters
    ----------
    run
        The run.
    summaries
        Of all runs, this one among them (see `kept.all_summaries`).
    device
        Only this one, by its name or label.
    exported
        Somebody's exported file, instead of the own runs.
    errors
        Runs that have no summaries, to be told.

    Raises
    ------
    NotEnoughDataError
        If the run has no device of that name.
    """
    mine = summaries.filter(pc.equal(summaries["run_id"], run.run_id))
    facts = run.facts.get("devices", {})
    labels = device_labels(
        {name: facts.get(name, {}) for name in {**facts, **dict.fromkeys(mine["device"].to_pylist())}}
    )
    chosen = _chosen(run, labels, device)
    peers: dict[tuple[Any, ...], Peers] = {}
    found = [
        _standing(name, labels[name], facts.get(name, {}), mine, summaries, exported, peers)
        for name in chosen
    ]
    tested = [each for one in found for each in one.metrics if each.p is not None]
    flags, adjusted = unusual([each.p for each in tested if each.p is not None])
    for each, is_unusual, p in zip(tested, flags, adjusted, strict=True):
        each.unusual, each.p_adjusted = is_unusual, p
    source = "runs" if exported is None else str(exported.path)
    return Population(run.run_id, source, found, len(tested), others_needed(len(tested)), dict(errors or {}))


def _chosen(run: Run, labels: Mapping[str, str], device: str | None) -> list[str]:
    if device is None:
        return list(labels)
    found = [name for name, label in labels.items() if device in (name, label, label.partition(" (")[0])]
    if len(found) != 1:
        known = ", ".join(f"{name} ({label})" if label != name else name for name, label in labels.items())
        raise NotEnoughDataError(f"run {run.run_id} has no device {device!r}; it has: {known or 'none'}")
    return found


def _standing(
    name: str,
    label: str,
    facts: Mapping[str, Any],
    mine: pa.Table,
    summaries: pa.Table,
    exported: Exported | None,
    peers: dict[tuple[Any, ...], Peers],
) -> DeviceStanding:
    own = mine.filter(pc.equal(mine["device"], name)).to_pylist()
    if not own:
        nothing = [Compared(metric, reason=_NOT_MEASURED) for metric in METRICS]
        model = str(facts.get("model") or "")
        return DeviceStanding(name, label, model, "", None, is_simulated(name, facts), nothing)
    first = own[0]
    limit_w, simulated = first["power_limit_w"], first["simulated"]
    told = DeviceStanding(name, label, first["model"], first["part"], limit_w, simulated)
    key = tuple(first[name] for name in GROUP)
    if key not in peers:
        peers[key] = Peers(summaries, first)
    told.metrics = [_compared(metric, own, peers[key], exported) for metric in METRICS.values()]
    return told


def _compared(
    metric: Metric, own: Sequence[Mapping[str, Any]], peers: Peers, exported: Exported | None
) -> Compared:
    rows = [row for row in own if row["metric"] == metric.name]
    empty = Compared(metric.name, unit=metric.unit, at_unit=metric.at, confounds=metric.confounds)
    if not rows:
        empty.reason = _NOT_MEASURED
        return empty
    if not rows[0]["model"]:
        empty.value, empty.reason = rows[0]["value"], "the model of the device is not recorded"
        return empty
    if metric.per_training and rows[0]["training"] is None:
        empty.value = rows[0]["value"]
        empty.reason = "the run does not say what it trains (no model, no configuration): nothing is the same"
        return empty
    if exported is not None:
        return _among_exported(metric, rows, exported, empty)
    return _among_runs(metric, rows, peers, empty)


def _among_runs(metric: Metric, rows: Sequence[Mapping[str, Any]], peers: Peers, found: Compared) -> Compared:
    candidates = [(row, *peers.others(row)) for row in rows]
    row, others, drivers = max(candidates, key=lambda each: (each[1].size, each[0]["samples"]))
    found.value, found.at, found.others = row["value"], row["cell"], others.size
    found.drivers = drivers or None
    if others.size < FEWEST_OTHERS:
        found.reason = _too_few(metric, row, others.size)
        return found
    _place(found, standing(row["value"], others))
    return found


def _among_exported(
    metric: Metric, rows: Sequence[Mapping[str, Any]], exported: Exported, found: Compared
) -> Compared:
    found.value = rows[0]["value"]
    if metric.per_training:
        found.reason = "an exported file does not say of which training its numbers are"
        return found
    known = [(row, exported.cell(row)) for row in rows]
    row, cell = max(known, key=lambda each: (0 if each[1] is None else each[1].devices, each[0]["samples"]))
    found.value, found.at = row["value"], row["cell"]
    if cell is None:
        found.reason = f"cannot tell: the file has no {short_model(row['model'])} at this limit and condition"
        return found
    found.others = cell.devices
    _place(found, cell.standing(row["value"]))
    return found


def _place(found: Compared, stands: Standing) -> None:
    found.percentile, found.low, found.high = stands.percentile, stands.low, stands.high
    found.p = stands.p


def _too_few(metric: Metric, row: Mapping[str, Any], count: int) -> str:
    model = short_model(row["model"])
    matched = "of the same training" if metric.per_training else ""
    if metric.at and row["cell"] is not None:
        matched = f"at {row['cell']:,.0f} {metric.at}"
    limit = "" if row["power_limit_w"] is None else f" with a limit of {row['power_limit_w']:,.0f} W"
    which = " ".join(part for part in (f"other {model}{limit}", matched) if part)
    if not count:
        return f"cannot tell: no {which}, at least {FEWEST_OTHERS} are needed"
    return f"cannot tell: {counted(count, which, which)}, at least {FEWEST_OTHERS} are needed"
