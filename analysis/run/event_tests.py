"""Events of a run against each other: gradient spikes, collapses, throttling."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.align.grid import causal_grid
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.event_study.coincidence import event_coincidence
from thermograd.analysis.event_study.onsets import FEWEST_ONSETS, OnsetTest, onset_test, onsets_of, spikes_of
from thermograd.analysis.event_study.triggered_average import locked_average
from thermograd.analysis.run.drivers import driver_columns
from thermograd.analysis.run.pairs import PairTest, signal_values
from thermograd.analysis.run.series import Device, RunSeries

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

_UNITS = {"temperature_c": "degC", "power_w": "W", "sm_clock_mhz": "MHz"}
_MOST_SECONDS = 5_000_000  # 58 days


def spike_collapse_coincidence(data: RunSeries, window_s: float) -> dict[str, Any]:
    """Count gradient spikes and collapses that have one of the other kind near, and test the count.

    Returns
    -------
    dict
        ``trigger_rate``: share of spikes that a collapse follows within the window; ``precursor_rate``:
        share of collapses that a spike preceded; their p by all circular shifts, NaN with fewer than
        40 events of either kind (then ``verdict`` is "insufficient").
    """
    spikes = _alert_times(data, lambda alert: alert == "spike.grad")
    collapses = _alert_times(data, lambda alert: alert.startswith("collapse."))
    window_ns = round(window_s * 1e9)
    followed, preceded = _followed(spikes, collapses, window_ns), _followed(-collapses, -spikes, window_ns)
    p = {"trigger_p": math.nan, "precursor_p": math.nan}
    reason = _too_few(spikes.size, collapses.size)
    if reason is None:
        p, reason = _shifted_p(spikes, collapses, window_s)
    return {
        "window_s": window_s,
        "spikes": spikes.size,
        "collapses": collapses.size,
        "spikes_followed_by_a_collapse": followed,
        "collapses_preceded_by_a_spike": preceded,
        "collapses_followed_by_a_spike": _followed(collapses, spikes, window_ns),
        "trigger_rate": followed / spikes.size if spikes.size else math.nan,
        "precursor_rate": preceded / collapses.size if collapses.size else math.nan,
        **p,
        "verdict": "insufficient" if reason else "tested",
        "reasons": [reason] if reason else [],
    }


def _alert_times(data: RunSeries, wanted: Any) -> Times:
    times = [a["onset_time_ns"] for a in data.alerts if wanted(a["alert"]) and a["onset_time_ns"] is not None]
    return np.sort(np.array(times, dtype=np.int64))


def _followed(first: Times, second: Times, window_ns: int) -> int:
    """Count the first events with a second one at most the window later."""
    second = np.sort(second)
    next_one = np.searchsorted(second, first)
    found = next_one < second.size
    return int((second[next_one[found]] - first[found] <= window_ns).sum())


def _too_few(spikes: int, collapses: int) -> str | None:
    if min(spikes, collapses) >= FEWEST_ONSETS:
        return None
    counted = f"{spikes} spike{'s' * (spikes != 1)} and {collapses} collapse{'s' * (collapses != 1)}"
    return f"{counted}: a test of coincidence needs {FEWEST_ONSETS} of each."


def _shifted_p(spikes: Times, collapses: Times, window_s: float) -> tuple[dict[str, float], str | None]:
    begin, end = min(spikes[0], collapses[0]), max(spikes[-1], collapses[-1])
    bins, window = int((end - begin) // 10**9) + 1, max(1, round(window_s) + 1)
    p = {"trigger_p": math.nan, "precursor_p": math.nan}
    if bins > _MOST_SECONDS:
        return p, f"The events span {bins} s, more than {_MOST_SECONDS}: a clock must have been wrong."
    first, second = np.zeros(bins, dtype=np.bool_), np.zeros(bins, dtype=np.bool_)
    first[(spikes - begin) // 10**9] = True
    second[(collapses - begin) // 10**9] = True
    if window > bins:
        return p, "All events lie within one window."
    found = event_coincidence(first, second, window, fewest=1)
    return {"trigger_p": found.trigger_p, "precursor_p": found.precursor_p}, None


# -- before the onsets of hardware events ----------------------------------------------------------


def onset_tests(data: RunSeries, devices: list[Device], max_lag_s: float) -> list[dict[str, Any]]:
    """Test whether the gradient norm is unusual before collapses and throttling begin.

    Returns
    -------
    list of dict
        One per device and kind of event that occurred: ``event``, ``device``, ``n_onsets``, ``p``,
        ``p_adjusted`` (Holm over these tests), ``effect_sd`` (mean residual of the norm before an
        onset), ``lag_s``, ``width_s``, ``verdict``, ``reasons``.
    """
    if not np.isfinite(data.training("grad_norm")).any():
        return []
    found = [
        (event, device, *_one_onset_test(data, device, flag, max_lag_s))
        for device in devices
        for event, flag in _flags(data, device).items()
    ]
    adjusted = holm([test.p for _, _, test, _ in found])
    return [
        _onset_entry(event, device.name, test, period_s, float(p))
        for (event, device, test, period_s), p in zip(found, adjusted, strict=True)
    ]


def _flags(data: RunSeries, device: Device) -> dict[str, Floats]:
    """Return what happened between every sample and the one before, where anything did."""
    flags = {}
    throttled = device.signal("throttled_ratio")
    if throttled is not None:
        flags["throttling"] = throttled
    times = np.array(
        [
            a["onset_time_ns"]
            for a in data.alerts
            if a["alert"].startswith("collapse.")
            and a["device"] == device.name
            and a["onset_time_ns"] is not None
        ],
        dtype=np.int64,
    )
    place = np.searchsorted(device.time_ns, times)
    collapse = np.bincount(place, minlength=device.time_ns.size + 1)[: device.time_ns.size]
    flags["collapse"] = collapse.astype(np.float64)
    return {name: flag for name, flag in flags.items() if (np.nan_to_num(flag) > 0).any()}


def _one_onset_test(
    data: RunSeries, device: Device, flag: Floats, max_lag_s: float
) -> tuple[OnsetTest, float]:
    grid = causal_grid(data.step_time_ns, signal_values(data, "grad_norm"), device.time_ns, flag)
    if not grid.x.size:
        reason = "the events never fall into the time of the steps"
        return OnsetTest(math.nan, math.nan, 0, 1, 0, 0, reason), math.nan
    begins = np.append(True, np.diff(grid.segment) > 0)
    onsets = onsets_of(grid.y) & ~(begins & (grid.y > 0))  # one that was up already has no onset here
    drivers = driver_columns(data, device, grid, "grad_norm", "")
    test = onset_test(
        grid.x,
        onsets,
        drivers.lagged,
        max(1, round(max_lag_s / grid.period_s)),
        unlagged=drivers.unlagged,
        segments=grid.segment,
    )
    return test, grid.period_s


def _onset_entry(event: str, device: str, test: OnsetTest, period_s: float, p: float) -> dict[str, Any]:
    if test.reason:
        said, reason = "insufficient", f"{test.reason[:1].upper()}{test.reason[1:]}."
    elif p <= 0.05:
        said = "coupled"
        reason = f"Before {test.n_onsets} onsets the gradient norm is {test.effect:+.2f} sd from usual."
    else:
        said, reason = "inconclusive", "Before the onsets the gradient norm is as at other times."
    return {
        "x": "grad_norm",
        "event": event,
        "device": device,
        "n_onsets": test.n_onsets,
        "p": test.p,
        "p_adjusted": p,
        "effect_sd": test.effect,
        "lag_s": test.lag * period_s,
        "width_s": test.width * period_s,
        "verdict": said,
        "reasons": [reason],
    }


# -- around the spikes of the gradient -------------------------------------------------------------


def spike_locked_averages(tests: list[PairTest], max_lag_s: float) -> list[dict[str, Any]]:
    """Average the hardware around gradient spikes, against windows without one.

    A spike is a residual of log grad_norm of more than 4 robust standard deviations.

    Returns
    -------
    list of dict
        One per device and hardware signal: ``offset_s``, ``mean``, ``low``, ``high`` (arrays, in ``unit``),
        ``effect`` with ``effect_low``, ``effect_high`` (mean after a spike, per spike), ``n_spikes``,
        ``n_controls``, ``reasons``.
    """
    return [
        _locked_entry(test, max_lag_s)
        for test in tests
        if test.x == "grad_norm" and test.y in _UNITS and not test.blocked
    ]


def _locked_entry(test: PairTest, max_lag_s: float) -> dict[str, Any]:
    grid = test.grid
    spikes = spikes_of(test.results["forward"].residual_x)
    after = max(1, round(max_lag_s / grid.period_s))
    found = locked_average(grid.y, spikes, max(1, after // 2), after, segments=grid.segment)
    numbers = asdict(found)
    reason = numbers.pop("reason")
    offset = numbers.pop("offset")
    arrays = {name: numbers.pop(name).tolist() for name in ("mean", "low", "high")}
    return {
        "x": "grad_norm",
        "y": test.y,
        "device": test.device,
        "unit": _UNITS[test.y],
        "offset_s": (offset * grid.period_s).tolist(),
        **arrays,
        **numbers,
        "reasons": [f"{reason}."] if reason else [],
    }
