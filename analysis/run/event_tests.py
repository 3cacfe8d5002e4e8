"""Events of a run against each other: gradient spikes, collapses, throttling."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.coupling.verdict import as_sentence, holm
from thermograd.analysis.event_study.coincidence import event_coincidence
from thermograd.analysis.event_study.onsets import (
    FEWEST_ONSETS,
    OnsetTest,
    onset_test,
    onsets_of,
    residual_spikes,
)
from thermograd.analysis.event_study.triggered_average import TriggeredAverage, event_triggered_average
from thermograd.analysis.remembered import Remembered
from thermograd.analysis.run.common_drivers import driver_columns
from thermograd.analysis.run.readings.compared import ComparedSignals
from thermograd.analysis.run.series import Device, RunSeries, one_by_one
from thermograd.store.telling.columns import signal

_ALPHA = 0.05
_AVERAGED_SIGNALS = ("temperature_c", "power_w", "sm_clock_mhz")
_MOST_SECONDS = 5_000_000  # 58 days


def spike_collapse_coincidence(data: RunSeries, window_s: float) -> dict[str, Any]:
    """Count gradient spikes and collapses that have one of the other kind near, and test the count.

    Both are the alerts of the live detectors, as they were recorded. ``trigger_rate``: share of spikes that
    a collapse follows within the window; ``precursor_rate``: share of collapses that a spike preceded; their
    p by all circular shifts, NaN with fewer than 40 events of either kind (then ``verdict`` is
    "insufficient").
    """
    spikes, collapses = data.onset_times_ns("spike.grad"), data.onset_times_ns("collapse.")
    window_ns = round(window_s * 1e9)
    followed, preceded = _followed(spikes, collapses, window_ns), _followed(-collapses, -spikes, window_ns)
    trigger_p, precursor_p, reason = _shifted_p(spikes, collapses, window_s)
    return {
        "window_s": window_s,
        "spikes": spikes.size,
        "collapses": collapses.size,
        "spikes_followed_by_a_collapse": followed,
        "collapses_preceded_by_a_spike": preceded,
        "collapses_followed_by_a_spike": _followed(collapses, spikes, window_ns),
        "trigger_rate": followed / spikes.size if spikes.size else math.nan,
        "precursor_rate": preceded / collapses.size if collapses.size else math.nan,
        "trigger_p": trigger_p,
        "precursor_p": precursor_p,
        "verdict": "insufficient" if reason else "tested",
        "reasons": [reason] if reason else [],
    }


def _followed(first: Times, second: Times, window_ns: int) -> int:
    """Count the first events with a second one at most the window later."""
    second = np.sort(second)
    next_one = np.searchsorted(second, first)
    found = next_one < second.size
    return int((second[next_one[found]] - first[found] <= window_ns).sum())


def _shifted_p(spikes: Times, collapses: Times, window_s: float) -> tuple[float, float, str | None]:
    """Return p of spikes and of collapses, or why there is none."""
    if min(spikes.size, collapses.size) < FEWEST_ONSETS:
        counted = f"{_counted(spikes, 'spike')} and {_counted(collapses, 'collapse')}"
        reason = f"{counted}: a test of coincidence needs {FEWEST_ONSETS} of each."
        return math.nan, math.nan, reason
    begin, end = min(spikes[0], collapses[0]), max(spikes[-1], collapses[-1])
    bins, window = int((end - begin) // 10**9) + 1, max(1, round(window_s) + 1)
    if bins > _MOST_SECONDS:
        reason = f"The events span {bins} s, more than {_MOST_SECONDS}: a clock must have been wrong."
        return math.nan, math.nan, reason
    if window > bins:
        return math.nan, math.nan, "All events lie within one window."
    first, second = np.zeros((2, bins), dtype=np.bool_)
    first[(spikes - begin) // 10**9] = True
    second[(collapses - begin) // 10**9] = True
    found = event_coincidence(first, second, window, fewest=1)
    return found.trigger_p, found.precursor_p, None if found.reason is None else as_sentence(found.reason)


def _counted(times: Times, name: str) -> str:
    return f"{times.size} {name}{'s' * (times.size != 1)}"


@dataclass(frozen=True, slots=True)
class OnsetsOfEvent:
    """Whether the gradient norm is unusual before the onsets of one kind of event of one device."""

    # event, device: "throttling" or "collapse", and whose
    event: str
    device: str
    test: OnsetTest  # of log grad_norm before the onsets; its windows are in bins of `period_s`
    period_s: float
    p_adjusted: float  # p by Holm's method over all such tests of the run

    @property
    def verdict(self) -> str:
        """Whether the norm is unusual: "coupled", "inconclusive"; "insufficient" where it is not tested."""
        if self.test.reason:
            return "insufficient"
        return "coupled" if self.p_adjusted <= _ALPHA else "inconclusive"

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        if self.test.reason:
            return as_sentence(self.test.reason)
        if self.verdict == "inconclusive":
            return "Before the onsets the gradient norm is as at other times."
        found = f"{self.test.effect:+.2f} sd from usual"
        return f"Before {self.test.n_onsets} onsets the gradient norm is {found}."

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``analyze --json``."""
        return {
            "x": "grad_norm",
            "event": self.event,
            "device": self.device,
            "n_onsets": self.test.n_onsets,
            "p": self.test.p,
            "p_adjusted": self.p_adjusted,
            "effect_sd": self.test.effect,
            "lag_s": self.test.lag * self.period_s,
            "width_s": self.test.width * self.period_s,
            "verdict": self.verdict,
            "reasons": [self.reason],
        }


def onset_tests(
    data: RunSeries, devices: list[Device], max_lag_s: float, remembered: Remembered | None = None
) -> list[OnsetsOfEvent]:
    """Test whether the gradient norm is unusual before collapses and throttling begin, where any did."""
    known = remembered or Remembered()
    if not np.isfinite(data.training("grad_norm")).any():
        return []
    found = [
        (event, device.name, *_one_onset_test(data, device, flag, max_lag_s, known))
        for device in one_by_one(devices)
        for event, flag in _flags(data, device).items()
    ]
    adjusted = holm([test.p for _, _, test, _ in found]).tolist()
    return [OnsetsOfEvent(*each, p) for each, p in zip(found, adjusted, strict=True)]


def _flags(data: RunSeries, device: Device) -> dict[str, Floats]:
    """Return what happened between every sample and the one before, where anything did."""
    flags = {}
    throttled = device.signal("throttled_ratio")
    if throttled is not None:
        flags["throttling"] = throttled
    place = np.searchsorted(device.time_ns, data.onset_times_ns("collapse.", device.name))
    collapse = np.bincount(place, minlength=device.time_ns.size + 1)[: device.time_ns.size]
    flags["collapse"] = collapse.astype(np.float64)
    return {name: flag for name, flag in flags.items() if (np.nan_to_num(flag) > 0).any()}


def _one_onset_test(
    data: RunSeries, device: Device, flag: Floats, max_lag_s: float, known: Remembered
) -> tuple[OnsetTest, float]:
    grid = data.grid("grad_norm", device, flag, call=known)
    if not grid.x.size:
        return OnsetTest(reason="the events never fall into the time of the steps"), math.nan
    begins = np.append(True, np.diff(grid.segment) > 0)
    onsets = onsets_of(grid.y) & ~(begins & (grid.y > 0))  # one that was up already has no onset here
    drivers = driver_columns(data, device, grid, "grad_norm", "", call=known)
    test = onset_test(
        grid.laid_out(grid.x),
        np.nan_to_num(grid.laid_out(onsets.astype(np.float64))),
        grid.laid_out(drivers.lagged),
        max(1, round(max_lag_s / grid.period_s)),
        unlagged=grid.laid_out(drivers.unlagged),
        segments=grid.laid_out_segments(),
        remembered=known,
    )
    return test, grid.period_s


@dataclass(frozen=True, eq=False, kw_only=True)
class AroundSpikes(TriggeredAverage):
    """The mean course of one hardware signal around gradient spikes, against windows without one."""

    # y, device, unit: the signal, whose it is, and its unit
    y: str
    device: str
    unit: str
    device_label: str  # what it is called for a person
    simulated: bool  # whether a model, not a sensor, made it
    period_s: float  # length of a bin, of which `offset` tells the number

    @property
    def label(self) -> str:
        """Signal and device, for a person."""
        return f"{self.y}, {self.device_label}"

    @property
    def offset_s(self) -> list[float]:
        """Seconds after the spike, shape as `mean`."""
        return [float(place) * self.period_s for place in self.offset]

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``analyze --json``."""
        named = {name: getattr(self, name) for name in ("y", "device", "unit", "offset_s")}
        numbers = {name: np.asarray(getattr(self, name)).tolist() for name in _AVERAGED}
        return {"x": "grad_norm", **named, **numbers, "reasons": [f"{self.reason}."] if self.reason else []}


_AVERAGED = [name for name in TriggeredAverage.__dataclass_fields__ if name not in ("offset", "reason")]


def around_spikes(compared: Iterable[ComparedSignals], max_lag_s: float) -> list[AroundSpikes]:
    """Average temperature, power and clock around the spikes of the gradient (see `residual_spikes`)."""
    return [
        _around_spikes(signals, max_lag_s)
        for signals in compared
        if signals.x == "grad_norm" and signals.y in _AVERAGED_SIGNALS
    ]


def _around_spikes(signals: ComparedSignals, max_lag_s: float) -> AroundSpikes:
    grid, device = signals.grid, signals.device
    after = max(1, round(max_lag_s / grid.period_s))
    spikes = np.nan_to_num(grid.laid_out(residual_spikes(signals.residual_x).astype(np.float64)))
    average = event_triggered_average(
        grid.laid_out(grid.y), spikes, max(1, after // 2), after, segments=grid.laid_out_segments()
    )
    return AroundSpikes(
        **vars(average),
        y=signals.y,
        device=device.name,
        device_label=device.label,
        unit=signal(signals.y).unit,
        simulated=device.simulated,
        period_s=grid.period_s,
    )
