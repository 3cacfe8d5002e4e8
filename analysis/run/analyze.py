"""The analysis of one run: every pair of signals tested, controls, warnings, and what it all says."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Ints
from thermograd.analysis.coupling.cross_correlation import FAMILIES, naive_pearson
from thermograd.analysis.coupling.detectable import smallest_detectable
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.remembered import Remembered
from thermograd.analysis.run.event_tests import around_spikes, onset_tests, spike_collapse_coincidence
from thermograd.analysis.run.experiment.experiments import (
    experiment_warnings,
    run_experiments,
    unbegun_warnings,
)
from thermograd.analysis.run.incident.incident import run_incident
from thermograd.analysis.run.negative_controls import control_correlations
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.pairs import Asked, PairTest, correlate_pairs
from thermograd.analysis.run.readings.compared import Shared
from thermograd.analysis.run.readings.data_quality import warnings_for
from thermograd.analysis.run.readings.recognised import recognised
from thermograd.analysis.run.readings.time_constants import time_constants_s
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import (
    HARDWARE_SIGNALS,
    TRAINING_SIGNALS,
    Device,
    RunSeries,
    load_series,
    one_by_one,
)
from thermograd.analysis.run.wording.sentences import MATTERS, bins_needed
from thermograd.store.align.matching import nearest
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.tags import read_tags
from thermograd.store.text import printable

_COMMON = ("seq", "time_ns", "monotonic_ns", "writer")
_POWER = 0.9
_NAMED = 20  # metrics that an error names
_NAIVE = "Pearson on raw values counts shared trends as coupling; it supports no verdict."


@one_blas_thread()
def analyze_run(
    run: Run,
    x: str | None = None,
    y: str | None = None,
    device: str | None = None,
    method: str = "rxc",
    tolerance_s: float = 1.0,
    max_lag_s: float = 12.0,
    series: RunSeries | None = None,
    controls_from: Sequence[RunSeries] = (),
) -> Analysis:
    """Test whether a run's training signals and its hardware are coupled.

    Parameters
    ----------
    run
        The run.
    x, y, device
        One training signal, hardware signal, device; all by default.
    method
        "rxc", the residual cross-correlation; "pearson", the naive reference.
    tolerance_s
        Of the matching of steps and samples (naive figures and the account of the alignment).
    max_lag_s
        Largest lag searched, s.
    series
        The run's data where they have been read already.
    controls_from
        Other runs: what correlates as well with their hardware is no coupling.

    Raises
    ------
    NotEnoughDataError
        If a signal or device was asked for that the run does not have.

    Notes
    -----
    While it lasts, BLAS has one thread in this process (`linear_algebra.one_blas_thread`).
    """
    data = series or load_series(run)
    devices = _chosen_devices(data, device)
    wanted = _wanted_pairs(data, devices, x, y)
    tolerance_ns, is_naive = round(tolerance_s * 1e9), method == "pearson"
    incident = run_incident(data)  # which holds what throttled every device: before all that the pairs hold
    remembered, shared = Remembered(), Shared()
    aligned = {d.name: _aligned(data, d, tolerance_ns) for d in one_by_one(devices)}
    constants = {} if is_naive else {d.name: time_constants_s(data, d) for d in one_by_one(devices)}
    pairs, tests = list[Pair](), list[PairTest]()
    naive = (_naive_pair(data, *pair, shared, aligned[pair[-1].name], tolerance_ns) for pair in wanted)
    if is_naive:
        pairs = list(naive)
    else:
        asked = (
            Asked(*pair, found.r, constants[pair[-1].name]) for pair, found in zip(wanted, naive, strict=True)
        )
        tests = correlate_pairs(data, asked, len(wanted), max_lag_s, remembered, shared)
        pairs = _judge(tests)
    could_show, warnings = sensitivity(pairs), warnings_for(data, devices)
    experiments = run_experiments(data) if method != "pearson" else []
    warnings += experiment_warnings(experiments) + unbegun_warnings(data)
    short = sorted({name for test in tests for name in test.drivers.left_out})
    if short:
        warnings.append(f"The run is too short to take all drivers out; left in: {', '.join(short)}.")
    return Analysis(
        run_id=run.run_id,
        method="pearson" if method == "pearson" else "rxc",
        alignment=_alignment_account(data, aligned, tolerance_s),
        pairs=pairs,
        controls=control_correlations(data, devices, aligned, controls_from),
        coincidence=spike_collapse_coincidence(data, max_lag_s),
        warnings=warnings,
        recognised=recognised(tests, pairs, {d.label: constants.get(d.name, []) for d in devices}),
        simulated=[d.name for d in devices if d.simulated],
        smallest_detectable_r=could_show.get("detectable_r"),
        sensitivity=could_show,
        onset_tests=onset_tests(data, devices, max_lag_s, remembered) if method == "rxc" else [],
        spike_locked=around_spikes([test for test in tests if not test.blocked], max_lag_s),
        experiments=experiments,
        compared=list(tests),
        episodes=data.episodes,
        device_labels={d.name: d.label for d in data.devices.values()},
        unmeasured={d.name: d.missing for d in devices if not any(map(d.measures, HARDWARE_SIGNALS))},
        incident=incident,
        config=data.config,
        **asdict(read_tags(run.path)),
        time_constants={name: [asdict(each) for each in found] for name, found in constants.items()},
    )


def _chosen_devices(data: RunSeries, device: str | None) -> list[Device]:
    if device is None:
        return list(data.devices.values())
    devices = data.devices.values()
    found = [d for d in devices if device in (d.name, d.label, d.label.partition(" (")[0])]
    if len(found) != 1:
        known = ", ".join(f"{d.name} ({d.label})" if d.label != d.name else d.name for d in devices) or "none"
        raise NotEnoughDataError(f"run {data.run.run_id} has no device {device!r}; it has: {known}")
    return found


def _aligned(data: RunSeries, device: Device, tolerance_ns: int) -> Ints:
    """Return the sample of each step, -1 for none, in as few bytes as hold it."""
    found = nearest(data.step_time_ns, device.time_ns, tolerance_ns)
    return found.astype(np.int32) if device.time_ns.size < 2**31 else found


def _wanted_pairs(
    data: RunSeries, devices: list[Device], x: str | None, y: str | None
) -> list[tuple[str, str, Device]]:
    known = [name for name in data.steps.column_names if name not in _COMMON]
    if x is not None and x not in known and x not in data.metrics:
        raise NotEnoughDataError(_no_signal(data, x, known))
    if y is not None and devices and not any(d.offers(y) for d in devices):
        names = (*devices[0].table.column_names, "throttled_ratio", "rle")
        numeric = [name for name in names if name not in (*_COMMON, "device")]
        there = [name for name in numeric if any(d.offers(name) for d in devices)]
        allowed = ", ".join(there) or "none, its devices reported nothing"
        raise NotEnoughDataError(f"no device of this run has {y!r}; allowed: {allowed}")
    first, second = (x,) if x else TRAINING_SIGNALS, (y,) if y else HARDWARE_SIGNALS
    return [
        (name, hardware, d)
        for d, name, hardware in itertools.product(devices, first, second)
        if data.has_training(name) and d.offers(hardware)
    ]


def _no_signal(data: RunSeries, x: str, known: list[str]) -> str:
    """Return the sentence that a training signal is none of this run's, and which there are."""
    logged = ", ".join(printable(name, 60) for name in list(data.metrics)[:_NAMED])
    more = f" and {len(data.metrics) - _NAMED} more" if len(data.metrics) > _NAMED else ""
    own = f"its own metrics are {logged}{more}" if logged else "it has no metrics of its own (run.log)"
    return f"steps have no column {printable(x, 60)!r}; allowed: {', '.join(known)}; {own}"


def _naive_pair(
    data: RunSeries, x: str, y: str, device: Device, shared: Shared, aligned: Ints, tolerance_ns: int
) -> Pair:
    """Return the Pearson correlation of raw matched values, and the number of rows it stands on."""
    values = shared.signal(device, y)
    times, numbers = data.training_series(x)
    index = aligned if times is data.step_time_ns else nearest(times, device.time_ns, tolerance_ns)
    matched = index >= 0
    first, second = numbers[matched], values[index[matched]]
    r = naive_pearson(first, second)
    unknown = math.isnan(r)
    return Pair(
        x=x,
        y=y,
        device=device.name,
        device_label=device.label,
        family="simultaneous",
        n=int((np.isfinite(first) & np.isfinite(second)).sum()),
        r=r,
        lag_s=0.0,
        pearson_r=r,
        verdict="insufficient" if unknown else "inconclusive",
        strength="null",
        reasons=["A side is constant, or there are fewer than 3 rows." if unknown else _NAIVE],
    )


def _judge(tests: list[PairTest]) -> list[Pair]:
    """Correct for all tests of the run together.

    Speed coupling is no question but says "coupled" like the others: corrected apart, twice as many runs in
    which nothing is coupled would hold such a row.
    """
    adjusted = holm([p for test in tests for p in test.p_values()]).reshape(-1, len(FAMILIES)).tolist()
    return [pair for test, p in zip(tests, adjusted, strict=True) for pair in test.judged(p)]


def _alignment_account(data: RunSeries, aligned: dict[str, Ints], tolerance_s: float) -> dict[str, Any]:
    """Return how many steps found a sample, on the device that has the fewest, and what was left out."""
    steps = data.step_time_ns.size
    by_device = {name: int((index >= 0).sum()) for name, index in aligned.items()}
    matched = min(by_device.values(), default=0)
    norms = data.training("grad_norm")
    unknown = int(np.asarray(data.steps.column("grad_norm").is_null()).sum()) if steps else 0
    dropped = {
        "grad_norm not finite": int((~np.isfinite(norms)).sum()) - unknown,
        "grad_norm not known": unknown,
        "grad_norm is zero": int((norms == 0).sum()),
    }
    return {
        "mode": "nearest",
        "tolerance_s": tolerance_s,
        "steps": steps,
        "ranks": data.ranks,
        "matched": matched,
        "unmatched": steps - matched,
        "matched_by_device": by_device,
        "dropped": {reason: count for reason, count in dropped.items() if count},
    }


def sensitivity(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return how small a residual correlation the longest tested pair of the question could have shown.

    Empty where nothing was tested. ``bins``, ``period_s``; ``power``: probability of showing it, 0.9;
    ``detectable_r`` in a test by itself; ``tests`` of the run and ``detectable_r_corrected`` after their
    correction; ``rho`` 0.2 with the length that shows it (``bins_to_show``, ``minutes_to_show``) and the one
    that rules it out (``bins_to_exclude``, ``minutes_to_exclude``).
    """
    tested = [pair for pair in pairs if math.isfinite(pair.p)]
    asked = [pair for pair in tested if pair.family == "forward" and not pair.is_speed]
    forward = [pair for pair in asked if math.isfinite(pair.detectable_r)]
    if not forward:
        return {}
    pair = min(forward, key=lambda pair: pair.detectable_r)
    show, exclude = bins_needed(pair, MATTERS)
    corrected = smallest_detectable(
        pair.n, columns=pair.columns, lags=pair.looks, power=_POWER, alpha=0.05 / len(tested)
    )
    return {
        "bins": pair.n,
        "period_s": pair.period_s,
        "power": _POWER,
        "detectable_r": pair.detectable_r,
        "tests": len(tested),
        "detectable_r_corrected": corrected,
        "rho": MATTERS,
        "bins_to_show": show,
        "minutes_to_show": show * pair.period_s / 60,
        "bins_to_exclude": exclude,
        "minutes_to_exclude": exclude * pair.period_s / 60,
    }
