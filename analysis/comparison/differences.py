"""Where runs differ: settings, packages, code, machine, hardware, and the step at which their losses part."""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.comparison.reproducibility import FINAL_LOSS, by_common_step, final_loss
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import entries, run_config
from thermograd.store.runs.own_values.metrics import Metric

_APART = 0.01  # relative: losses that a person would call different
_WARM_UP_S = 120.0  # of a device; of a short run a third
_LAG_S = 30.0  # over which power is averaged: temperature follows it slowly
_POWER_BINS = 12
_FEWEST_SAMPLES = 5  # in a bin, of each run
_FEWEST_BINS = 3
_MOST_METRICS = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that is not the same in all runs: its group, its name, and each run's value as text."""

    group: str
    name: str
    values: list[str | None]


@dataclass(frozen=True, slots=True)
class LossesApart:
    """Where a run's losses part from the first run's, by step number; None where they do not."""

    run_id: str
    common_steps: int
    equal_until: int | None  # the last step up to which all are equal to the last bit
    first_different: int | None
    relative: float | None  # of the difference there to the first run's loss
    first_apart: int | None  # the first step with a difference above 1 %


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity of a device, of the steps or of a run's own metrics in each run; None where unknown."""

    role: str
    name: str
    unit: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between runs. `measured` holds the medians, whether they differ or not."""

    settings: list[Setting] = field(default_factory=list)
    losses: list[LossesApart] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)


def differences(runs: Sequence[RunSeries]) -> Differences:
    """Return where runs differ; each is compared with the first."""
    first = runs[0]
    return Differences(
        settings=settings_apart([data.run for data in runs]),
        losses=[losses_apart(first, other) for other in runs[1:]],
        measured=[*_of_steps(runs), *_of_metrics(runs), *_of_devices(runs)],
    )


# -- settings ----------------------------------------------------------------------------------------


def settings_apart(runs: Sequence[Run]) -> list[Setting]:
    """Return what of configuration, packages, code and machine is not the same in all runs."""
    return list(_settings(runs))


def _settings(runs: Sequence[Run]) -> Iterator[Setting]:
    groups: dict[str, Callable[[Run], Mapping[str, Any]]] = {
        "config": lambda run: _flat(run_config(run)),
        "packages": lambda run: _flat(run.facts.get("versions")),
        "code": _code,
        "machine": _machine,
    }
    for group, values_of in groups.items():
        found = [values_of(run) for run in runs]
        for name in dict.fromkeys(name for values in found for name in values):
            values = [values.get(name) for values in found]
            if any(value != values[0] for value in values[1:]):
                yield Setting(group, name, [None if value is None else str(value) for value in values])


def _flat(value: Any) -> dict[str, str | None]:
    return {entry.key: entry.value for entry in entries(value)} if isinstance(value, Mapping) else {}


def _code(run: Run) -> dict[str, Any]:
    facts = run.facts
    git, argv, model = facts.get("git") or {}, facts.get("argv"), facts.get("model") or {}
    commit = git.get("commit")
    return {
        "command": shlex.join(map(str, argv)) if isinstance(argv, list) else None,
        "commit": f"{str(commit)[:10]}{', changed' * bool(git.get('dirty'))}" if commit else None,
        "seed": facts.get("seed"),
        "model": model.get("class"),
        "parameters": model.get("parameters"),
    }


def _machine(run: Run) -> dict[str, Any]:
    facts = run.facts
    job = facts.get("job") or {}
    return {
        "host": facts.get("host"),
        "ranks": job.get("world_size"),
        "thermograd": facts.get("thermograd_version"),
        **{f"environment.{name}": value for name, value in _flat(facts.get("environment")).items()},
    }


# -- losses ------------------------------------------------------------------------------------------


def losses_apart(first: RunSeries, other: RunSeries) -> LossesApart:
    """Return where the losses of a run part from another's, over the steps that both have."""
    numbers, (one, two) = by_common_step([first, other], "loss")
    known = np.isfinite(one) | np.isfinite(two)
    numbers, one, two = numbers[known], one[known], two[known]
    differ = ~((one == two) | (np.isnan(one) & np.isnan(two)))
    relative = np.abs(two - one) / np.maximum(np.abs(one), np.finfo(float).tiny)
    apart = differ & ~(relative <= _APART)  # NaN beside a number is apart
    place = int(np.argmax(differ)) if differ.any() else None
    share = None if place is None else float(relative[place])
    return LossesApart(
        run_id=other.run.run_id,
        common_steps=int(numbers.size),
        equal_until=_step(numbers, (numbers.size if place is None else place) - 1),
        first_different=None if place is None else int(numbers[place]),
        relative=share if share is not None and math.isfinite(share) else None,
        first_apart=int(numbers[int(np.argmax(apart))]) if apart.any() else None,
    )


def _step(numbers: Floats, place: int) -> int | None:
    return int(numbers[place]) if place >= 0 else None


# -- what was measured -------------------------------------------------------------------------------


def _of_steps(runs: Sequence[RunSeries]) -> Iterator[Measured]:
    final = [final_loss(data) for data in runs]
    if any(value is not None for value in final):
        yield Measured("training", FINAL_LOSS, "", final)
    for name, column, unit in (("step time, median", "step_time_s", "s"), ("tokens a step", "tokens", "")):
        values = [_median(data.training(column)) for data in runs]
        if any(value is not None for value in values):
            yield Measured("training", name, unit, values)


def _of_metrics(runs: Sequence[RunSeries]) -> list[Measured]:
    """Return what the runs' own metrics ended with, of the first few that all runs have."""
    shared = [name for name in runs[0].metrics if all(name in data.metrics for data in runs)]
    return [
        Measured("metric", f"{name}, last", "", [_last_value(data.metrics[name]) for data in runs])
        for name in shared[:_MOST_METRICS]
    ]


def _last_value(metric: Metric) -> float:
    """Return the value of the highest step, of several the last one logged; without steps the last one."""
    last = np.flatnonzero(metric.step == np.nanmax(metric.step)) if np.isfinite(metric.step).any() else [-1]
    return float(metric.value[last[-1]])


_MEDIANS = (
    ("power, median", "power_w", "W"),
    ("temperature, median", "temperature_c", "degC"),
    ("clock, median", "sm_clock_mhz", "MHz"),
    ("utilisation, median", "utilization_pct", "%"),
    ("power limit", "power_limit_w", "W"),
)


def _of_devices(runs: Sequence[RunSeries]) -> Iterator[Measured]:
    """Iterate over what each role's devices measured while training, where two runs have the role."""
    roles = dict.fromkeys(role for data in runs for role in data.roles)
    for role in roles:
        devices = [data.roles.get(role) for data in runs]
        if sum(device is not None for device in devices) < 2:
            continue
        pairs = list(zip(runs, devices, strict=True))
        rows = [
            Measured(role, name, unit, [_median(_while_training(*pair, column)) for pair in pairs])
            for name, column, unit in _MEDIANS
        ]
        throttled = [_mean(_while_training(*pair, "throttled_ratio")) for pair in pairs]
        rows.append(Measured(role, "throttled time", "%", [t if t is None else 100 * t for t in throttled]))
        rows.append(Measured(role, "temperature at equal power", "degC", _beside_the_first(pairs)))
        yield from (row for row in rows if any(value is not None for value in row.values))


def _while_training(data: RunSeries, device: Device | None, column: str) -> Floats:
    values = None if device is None else device.signal(column)
    if device is None or values is None:
        return np.empty(0)
    inside: Mask = (device.time_ns >= data.step_time_ns[0]) & (device.time_ns <= data.step_time_ns[-1])
    chosen: Floats = values[inside]
    return chosen


def _median(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _beside_the_first(pairs: Sequence[tuple[RunSeries, Device | None]]) -> list[float | None]:
    """Return how much warmer each run's device is than the first run's at its power, degC; None first."""
    warmed = [_warmed_up(*pair) for pair in pairs]
    return [None, *(warmer_at_equal_power(warmed[0], other) for other in warmed[1:])]


def _warmed_up(data: RunSeries, device: Device | None) -> tuple[Floats, Floats]:
    """Return power, as the device's heat has seen it, and temperature, W and degC, after the warm-up."""
    power, temperature = (_while_training(data, device, name) for name in ("power_w", "temperature_c"))
    if not power.size or power.shape != temperature.shape or device is None:
        return np.empty(0), np.empty(0)
    inside = (device.time_ns >= data.step_time_ns[0]) & (device.time_ns <= data.step_time_ns[-1])
    time_s = (device.time_ns[inside] - data.step_time_ns[0]) / 1e9
    heat = _trailing_mean(time_s, power, _LAG_S)
    late = time_s >= min(_WARM_UP_S, data.training_s / 3)
    known = late & np.isfinite(heat) & np.isfinite(temperature)
    return heat[known], temperature[known]


def _trailing_mean(time_s: Floats, values: Floats, width_s: float) -> Floats:
    """Return the mean of the known values in the `width_s` before each."""
    known = np.isfinite(values)
    total, count = np.cumsum(np.where(known, values, 0.0)), np.cumsum(known)
    before = np.searchsorted(time_s, time_s - width_s, side="left") - 1
    low = before >= 0
    total = total - np.where(low, total[before], 0.0)
    count = count - np.where(low, count[before], 0)
    mean: Floats = np.divide(total, count, out=np.full(values.size, np.nan), where=count > 0)
    return mean


def warmer_at_equal_power(first: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> float | None:
    """Return how much warmer `other` is at the power that both had, degC; None where they share too little.

    Parameters
    ----------
    first, other
        Power in W and temperature in degC, each of shape (n,).
    """
    low, high = max(_low(first), _low(other)), min(_high(first), _high(other))
    if not low <= high:
        return None
    edges = np.linspace(low, np.nextafter(high, np.inf), _POWER_BINS + 1)
    means = []
    for power, temperature in (first, other):
        which = np.clip(np.searchsorted(edges, power, side="right") - 1, -1, _POWER_BINS)
        inside = (which >= 0) & (which < _POWER_BINS)
        count = np.bincount(which[inside], minlength=_POWER_BINS)
        total = np.bincount(which[inside], temperature[inside], minlength=_POWER_BINS)
        means.append(np.where(count >= _FEWEST_SAMPLES, total / np.maximum(count, 1), np.nan))
    apart = means[1] - means[0]
    apart = apart[np.isfinite(apart)]
    return float(apart.mean()) if apart.size >= _FEWEST_BINS else None


def _low(pair: tuple[Floats, Floats]) -> float:
    return float(np.quantile(pair[0], 0.02)) if pair[0].size else math.inf


def _high(pair: tuple[Floats, Floats]) -> float:
    return float(np.quantile(pair[0], 0.98)) if pair[0].size else -math.inf
