"""Several runs side by side: what each says, what they say together, and how alike the trainings are.

Copies of one training are one piece of evidence. So runs whose step series is that of another count
once; the others enter the session swap (`swap`) and the pooled effect (`pooling`).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.comparison.entries import ComparedRun, PairAcross
from thermograd.analysis.comparison.reproducibility import recorded_seed, repeated_trainings, reproducibility
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.coupling.swap import SwapFamily, session_swap
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.pairs import RegularPair, regular_pair
from thermograd.analysis.run.result import Analysis, Pair, most_telling, question_verdict
from thermograd.analysis.run.series import (
    HARDWARE_SIGNALS,
    TRAINING_SIGNALS,
    RunSeries,
    device_by_role,
    load_series,
    model_warnings,
)
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run

Floats = NDArray[np.float64]

_FAMILIES: tuple[SwapFamily, ...] = ("forward", "reverse")
_SAME_PERIOD = 1.1  # sampling periods closer than this factor are one


@one_blas_thread()
def compare_runs(
    runs: Sequence[Run], x: str | None = None, y: str | None = None, max_lag_s: float = 12.0
) -> Comparison:
    """Compare runs.

    Parameters
    ----------
    runs
        At least two different ones.
    x, y
        Training and hardware signal of the question; by default the first pair that the runs share, in the
        order of `analyze`.
    max_lag_s
        Largest lag searched, s.

    Raises
    ------
    NotEnoughDataError
        If fewer than two different runs with steps are given, or no run has the signals asked for.

    Notes
    -----
    Devices have different names in different runs. They are matched by role: ``cpu`` with ``cpu``, the
    first GPU with the first GPU (in the order of their names), simulated ones among them.
    """
    series, warnings = _readable(runs)
    repeats = repeated_trainings(series)
    compared = [_one_run(place, series, repeats) for place in range(len(series))]
    analyses = [analysis for _, analysis in compared]
    counted = [data for place, data in enumerate(series) if place not in repeats]
    names = _pairs_in_common(counted, x, y) if len(counted) > 1 else []
    period_s, note = _common_period(counted, names)
    pairs = [_across(counted, *pair, period_s, max_lag_s, 2 * len(names)) for pair in names]
    chosen, others = pairs[:1], pairs[1:]
    result = Comparison(
        runs=[run for run, _ in compared],
        chosen=[each for pair in chosen for each in pair],
        others=[each for pair in others for each in pair],
        reproducibility=reproducibility(series),
        warnings=warnings + note + model_warnings(series),
        series=series,
    )
    for group in (result.chosen, result.others):
        for each, p in zip(group, holm([each.swap.p for each in group]).tolist(), strict=True):
            each.p_adjusted = p
    for run, analysis in zip(result.runs, analyses, strict=True):
        run.pair = _pair_of(analysis, names[0] if names else None, run.devices)
    return result


def _readable(runs: Sequence[Run]) -> tuple[list[RunSeries], list[str]]:
    distinct = list({run.path.resolve(): run for run in runs}.values())
    if len(distinct) < 2:
        given = distinct[0].run_id if distinct else "none"
        raise NotEnoughDataError(f"a comparison needs at least two different runs; given: {given}")
    series = [load_series(run) for run in distinct]
    usable = [data for data in series if data.step_time_ns.size]
    warnings = [
        f"{data.run.run_id} has no training step and was left out." for data in series if data not in usable
    ]
    if len(usable) < 2:
        names = ", ".join(data.run.run_id for data in series if data not in usable)
        raise NotEnoughDataError(f"a comparison needs two runs with training steps; without any: {names}")
    for data in usable:
        if not data.devices:
            warnings.append(f"{data.run.run_id} has no device sample: only its training is compared.")
        if data.run.state() == "live":
            warnings.append(f"{data.run.run_id} is still running: what it says may change.")
    return usable, warnings


def _one_run(
    place: int, series: Sequence[RunSeries], repeats: dict[int, tuple[int, str]]
) -> tuple[ComparedRun, Analysis]:
    data = series[place]
    analysis = analyze_run(data.run, series=data)
    repeated = repeats.get(place)
    spent_ns = int(data.step_time_ns[-1] - data.step_time_ns[0])
    truth = data.run.facts.get("truth")
    run = ComparedRun(
        run_id=data.run.run_id,
        name=data.run.name,
        state=data.run.state(),
        verdict=question_verdict(analysis),
        pair=None,
        smallest_detectable_r=analysis.smallest_detectable_r,
        seed=recorded_seed(data),
        minutes=spent_ns / 60e9,
        devices={role: device.name for role, device in device_by_role(data).items()},
        truth=truth if isinstance(truth, dict) else None,
        repeats=None if repeated is None else (series[repeated[0]].run.run_id, repeated[1]),
    )
    return run, analysis


def _pair_of(analysis: Analysis, names: tuple[str, str, str] | None, devices: dict[str, str]) -> Pair | None:
    if names is None:
        return None
    x, y, role = names
    pairs = [p for p in analysis.pairs if (p.x, p.y, p.device) == (x, y, devices.get(role))]
    return next(iter(most_telling(pairs)), None)


def _pairs_in_common(series: Sequence[RunSeries], x: str | None, y: str | None) -> list[tuple[str, str, str]]:
    """Return (x, y, role) that at least two runs have, the default order first."""
    first, second = (x,) if x else TRAINING_SIGNALS, (y,) if y else HARDWARE_SIGNALS
    roles = list(dict.fromkeys(role for data in series for role in device_by_role(data)))
    wanted = [(one, other, role) for one in first for other in second for role in roles]
    shared = [names for names in wanted if sum(_has(data, *names) for data in series) >= 2]
    if (x or y) and not shared:
        asked = " ~ ".join(each or "any" for each in (x, y))
        common = _pairs_in_common(series, None, None)
        known = ", ".join(dict.fromkeys(f"{one} ~ {other}" for one, other, _ in common)) or "none"
        raise NotEnoughDataError(
            f"no two runs have {asked} with values that change; pairs they share: {known}"
        )
    return shared


def _has(data: RunSeries, x: str, y: str, role: str) -> bool:
    device = device_by_role(data).get(role)
    if device is None or x not in data.steps.column_names or not np.isfinite(data.training(x)).any():
        return False
    values = device.signal(y)
    return (
        values is not None
        and bool(np.isfinite(values).any())
        and float(np.nanmax(values)) > float(np.nanmin(values))
    )


def _common_period(
    series: Sequence[RunSeries], names: Sequence[tuple[str, str, str]]
) -> tuple[float, list[str]]:
    """Return the bin that fits the slowest run, and a sentence where the runs' clocks differ."""
    if not names:
        return 1.0, []
    x, y, role = names[0]
    found = {}
    for data in series:
        device = device_by_role(data).get(role)
        pair = regular_pair(data, device, x, y) if device is not None else None
        if pair is not None:
            found[data.run.run_id] = pair.period_s
    slowest = max(found.values(), default=1.0)
    if slowest <= _SAME_PERIOD * min(found.values(), default=1.0):
        return 1.0 if slowest < _SAME_PERIOD else slowest / _SAME_PERIOD, []
    clocks = ", ".join(f"{run_id} {period_s:.3g} s" for run_id, period_s in found.items())
    return slowest, [
        f"The runs have different clocks ({clocks}): all are compared in bins of {slowest:.3g} s."
    ]


def _across(
    series: Sequence[RunSeries],
    x: str,
    y: str,
    role: str,
    period_s: float,
    max_lag_s: float,
    tests: int,
) -> list[PairAcross]:
    """Test one pair of signals over the runs, in both directions."""
    found: list[tuple[str, RegularPair]] = []
    for data in series:
        device = device_by_role(data).get(role)
        if device is not None and _has(data, x, y, role):
            pair = regular_pair(data, device, x, y, period_s)
            if pair is not None:
                found.append((data.run.run_id, pair))
    period_s = float(np.median([pair.period_s for _, pair in found])) if found else period_s
    pairs = [pair for _, pair in found]
    own, others = _naive(pairs)
    results = []
    for family in _FAMILIES:
        swap = session_swap(
            [pair.x for pair in pairs],
            [pair.y for pair in pairs],
            [pair.drivers for pair in pairs],
            unlagged=[pair.unlagged for pair in pairs],
            max_lag=max(1, round(max_lag_s / period_s)),
            permutations=max(999, 50 * tests - 1),  # so that the smallest p survives the correction
            family=family,
        )
        named = [_named(reason, [run_id for run_id, _ in found]) for reason in swap.reasons]
        swap.reasons[:] = named
        run_ids = [found[place][0] for place in swap.run_index] if swap.run_r.size else []
        results.append(PairAcross(x, y, role, family, period_s, swap, run_ids, own, others))
    return results


def _named(reason: str, run_ids: list[str]) -> str:
    """Put run ids where the swap, which knows only arrays, says "Run 3"."""
    head, number, rest = reason.partition(" ")[0], *reason.partition(" ")[2].partition(" ")[::2]
    return f"{run_ids[int(number)]} {rest}" if head == "Run" and number.isdecimal() else reason


def _naive(pairs: Sequence[RegularPair]) -> tuple[float, float]:
    """Return the median naive r with the own hardware, and with the others'."""
    own = [naive_pearson(pair.x, pair.y) for pair in pairs]
    others = []
    for i, first in enumerate(pairs):
        for j, second in enumerate(pairs):
            if i != j:
                length = min(first.x.size, second.y.size)
                others.append(naive_pearson(first.x[:length], second.y[:length]))
    return _median(own), _median(others)


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
