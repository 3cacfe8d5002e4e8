"""Groups of runs side by side: what each group's runs come to, and where groups differ beyond chance."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.special
from thermograd.analysis.arrays import Floats
from thermograd.analysis.fleet.discoveries import LEVEL, fdr_adjusted
from thermograd.analysis.fleet.engines.choice import Engine, workers_for
from thermograd.analysis.fleet.engines.chunks import chunks_of, gathered, opened
from thermograd.analysis.fleet.likeness import digest, likeness, repeated
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import entries, run_config
from thermograd.store.runs.tags import read_tags
from thermograd.store.telling.devices import simulated_among
from thermograd.store.text import printable, shortened

MEASURES = {
    "final_loss": "",
    "step_time_s": "s",
    "tokens_per_s": "1/s",
    "power_w": "W",
    "temperature_c": "degC",
    "sm_clock_mhz": "MHz",
    "throttled_ratio": "",
    "alerts_per_h": "1/h",
}
_SCHEMA = pa.schema(
    {"run_id": pa.string(), "model": pa.string(), "error": pa.string()}
    | {name: pa.float64() for name in MEASURES}
    | {"digest": pa.binary(), "likeness": pa.binary()}
)
FEWEST = 3  # different trainings of a group that is compared
_LAST_SHARE, _MOST_GROUPS = 0.05, 200
_S_PER_RUN = 0.02


@dataclass(frozen=True, slots=True)
class Group:
    """Some runs; of each measure mean and standard deviation of the runs that have it, and how many."""

    name: str
    runs: int
    repeats: int  # that repeat another's training: they count once
    measures: dict[str, tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """How far a group's mean is from that of the largest group, with its 95 % interval (Welch)."""

    group: str
    measure: str
    difference: float
    low: float
    high: float
    p: float
    q: float  # over all groups and measures (Benjamini and Yekutieli: measures of a run are dependent)


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupComparison:
    """Groups of runs side by side.

    Attributes
    ----------
    by
        What runs are grouped by.
    groups
        The largest first, which the others are compared with.
    differences
        Of every other group and every measure that both have in three runs or more, the surest first.
    errors
        Why runs could not be read, by run id.
    engine
        What did the work.
    simulated
        The sentence that some runs' devices are; empty where none is.
    """

    by: str
    groups: list[Group]
    differences: list[GroupDifference]
    errors: dict[str, str]
    engine: str
    simulated: str = ""

    @property
    def found(self) -> list[GroupDifference]:
        """The differences that are no chance finds, at a false discovery rate of .05."""
        return [each for each in self.differences if each.q <= LEVEL]

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``compare --all --json``."""
        return asdict(self)


def compare_groups(
    runs: Sequence[Run],
    by: str = "tag",
    *,
    engine: Engine = "local",
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GroupComparison:
    """Put groups of runs side by side.

    `by`: "tag", "model", "host", "name", or a key of the configuration, such as "config.lr". The rest as for
    `analyze_fleet`.

    Raises
    ------
    NotEnoughDataError
        If there is no run.
    """
    if not runs:
        raise NotEnoughDataError("there is no run to compare")
    workers = workers_for(summarise_chunk, engine, address, _S_PER_RUN * len(runs))
    rows = gathered(chunks_of(runs), workers, failed_summary, progress).to_pylist()
    again = repeated([row["digest"] for row in rows], [row["likeness"] for row in rows])
    members = _members(runs, rows, by)
    largest = sorted(members.items(), key=lambda each: (-len(each[1]), each[0]))[:_MOST_GROUPS]
    values = {name: _values([rows[k] for k in places if k not in again]) for name, places in largest}
    return GroupComparison(
        by=by,
        groups=[_group(name, places, values[name], again) for name, places in largest],
        differences=_differences(values),
        errors={row["run_id"]: row["error"] for row in rows if row["error"]},
        engine=workers.name,
        simulated=simulated_among([run.facts.get("devices", {}) for run in runs]),
    )


def summarise_chunk(addresses: Sequence[str]) -> pa.Table:
    """Return a row for every run: what its training and its devices came to."""
    return pa.concat_tables(map(_summary, opened(addresses)))


def _summary(run: Run) -> pa.Table:
    try:
        data = load_series(run)
        row = {"run_id": run.run_id, **_measured(data)}
        row |= {"digest": digest(data), "likeness": likeness(data)}
    except Exception as error:  # noqa: BLE001 - a poisoned run is a row with its error, the rest goes on
        return failed_summary(str(run.path), f"{type(error).__name__}: {error}")
    return pa.Table.from_pylist([row], schema=_SCHEMA)


def failed_summary(path: str, why: str) -> pa.Table:
    """Return the row of a run that cannot be read."""
    row = {"run_id": Run(Path(path)).run_id, "error": printable(shortened(why), 2000)}
    return pa.Table.from_pylist([row], schema=_SCHEMA)


def _measured(data: RunSeries) -> dict[str, Any]:
    loss, devices = data.training("loss"), list(data.devices.values())
    last = loss[-max(1, round(_LAST_SHARE * loss.size)) :]
    signal = partial(_of_devices, data)
    model = next((str(d.facts["model"]) for d in devices if d.facts.get("model")), None)
    hours = data.training_s / 3600
    return {
        "model": model,
        "final_loss": _mean(last),
        "step_time_s": _median(data.training("step_time_s")),
        "tokens_per_s": _median(data.training("tokens_per_s")),
        **{name: signal(name) for name in ("power_w", "temperature_c", "sm_clock_mhz", "throttled_ratio")},
        "alerts_per_h": len(data.episodes) / hours if data.watched and hours > 0 else None,
    }


def _of_devices(data: RunSeries, name: str) -> float | None:
    """Return the mean over the devices that have a signal, of its mean."""
    signals = [device.signal(name) for device in data.devices.values()]
    means = [mean for values in signals if values is not None and (mean := _mean(values)) is not None]
    return float(np.mean(means)) if means else None


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _median(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _members(runs: Sequence[Run], rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, (run, row) in enumerate(zip(runs, rows, strict=True)):
        for name in _names(run, row, by):
            groups[name].append(place)
    return dict(groups)


def _names(run: Run, row: Mapping[str, Any], by: str) -> list[str]:
    if by == "tag":
        return read_tags(run.path).tags or ["no tag"]
    if by.startswith("config."):
        key = by.removeprefix("config.")
        found = [entry.value for entry in entries(run_config(run)) if entry.key == key]
        return [str(found[0])] if found else [f"no {key}"]
    known = {"model": row["model"], "host": run.facts.get("host"), "name": run.name}
    return [str(known[by] or "not recorded")]


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    return {
        name: np.array([row[name] for row in rows if row[name] is not None], dtype=np.float64)
        for name in MEASURES
    }


def _group(name: str, places: Sequence[int], values: Mapping[str, Floats], again: Mapping[int, int]) -> Group:
    measures = {
        measure: (float(found.mean()), float(found.std(ddof=1)) if found.size > 1 else math.nan, found.size)
        for measure, found in values.items()
        if found.size
    }
    return Group(name, len(places), sum(place in again for place in places), measures)


def _differences(values: Mapping[str, Mapping[str, Floats]]) -> list[GroupDifference]:
    first, *others = values.items()
    pairs = [
        (name, measure, group[measure], first[1][measure])
        for name, group in others
        for measure in MEASURES
        if min(group[measure].size, first[1][measure].size) >= FEWEST
    ]
    tested = [(name, measure, *_welch(one, other)) for name, measure, one, other in pairs]
    adjusted = fdr_adjusted([each[-1] for each in tested], "BY").tolist()
    found = [GroupDifference(*each, q) for each, q in zip(tested, adjusted, strict=True)]
    known = [each for each in found if math.isfinite(each.p)]
    return sorted(known, key=lambda each: (each.q, each.p, each.group, each.measure))


def _welch(one: Floats, other: Floats) -> tuple[float, float, float, float]:
    """Return the difference of two means, its 95 % interval and its p; NaN where nothing varies."""
    parts = np.array([values.var(ddof=1) / values.size for values in (one, other)])
    error, difference = math.sqrt(parts.sum()), float(one.mean() - other.mean())
    if error == 0:
        return difference, math.nan, math.nan, math.nan
    freedom = parts.sum() ** 2 / float((parts**2 / np.array([one.size - 1, other.size - 1])).sum())
    reach = float(scipy.special.stdtrit(freedom, 0.975)) * error
    p = 2 * float(scipy.special.stdtr(freedom, -abs(difference) / error))
    return difference, difference - reach, difference + reach, p
