"""Several runs side by side: what each says, what they say together, and how alike the trainings are.

Copies of one training are one piece of evidence. So runs whose step series is that of another count
once; the others enter the session swap (`swap`) and the pooled effect (`random_effects`).
"""

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np
from thermograd.analysis.comparison.compared_runs import ComparedRun, PairAcross
from thermograd.analysis.comparison.differences import differences
from thermograd.analysis.comparison.reproducibility import recorded_seed, repeated_trainings, reproducibility
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.coupling.session_swaps import SwapFamily, session_swap
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.experiment.experiments import run_experiments
from thermograd.analysis.run.pair import Pair, most_telling
from thermograd.analysis.run.pairs import RegularPair, regular_pair
from thermograd.analysis.run.result import Analysis, question_verdict
from thermograd.analysis.run.series import (
    HARDWARE_SIGNALS,
    TRAINING_SIGNALS,
    RunSeries,
    load_series,
    model_warnings,
)
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run

_FAMILIES: tuple[SwapFamily, ...] = ("forward", "reverse")
_SAME_PERIOD = 1.1  # sampling periods closer than this factor are one
_Names = tuple[str, str, str]  # of a training signal, a hardware signal and the role of a device


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
    counted = [data for place, data in enumerate(series) if place not in repeats]
    names = _pairs_in_common(counted, x, y) if len(counted) > 1 else []
    period_s, note = _common_period(counted, names)
    across = [_across(counted, *pair, period_s, max_lag_s, 2 * len(names)) for pair in names]
    groups = [[each for pair in some for each in pair] for some in (across[:1], across[1:])]
    for group in groups:
        for each, p in zip(group, holm([each.swap.p for each in group]).tolist(), strict=True):
            each.p_adjusted = p
    question = names[0] if names else None
    return Comparison(
        runs=[_one_run(place, series, repeats, question) for place in range(len(series))],
        chosen=groups[0],
        others=groups[1],
        reproducibility=reproducibility(series),
        differences=differences(series),
        warnings=warnings + note + model_warnings(series) + experiment_notes(series),
        series=series,
    )


def experiment_notes(series: Sequence[RunSeries]) -> list[str]:
    """Return what the experiments of the runs show, which no comparison of their series does."""
    return [
        f"{data.run.run_id} holds a randomised experiment, so what is compared of it includes the "
        f"intervention. {result.sentence}"
        for data in series
        for result in run_experiments(data)
    ]


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
    place: int, series: Sequence[RunSeries], repeats: dict[int, tuple[int, str]], question: _Names | None
) -> ComparedRun:
    data = series[place]
    analysis = analyze_run(data.run, series=data)
    devices = {role: device.name for role, device in data.roles.items()}
    repeated = repeats.get(place)
    truth = data.run.facts.get("truth")
    return ComparedRun(
        run_id=data.run.run_id,
        name=data.run.name,
        state=data.run.state(),
        verdict=question_verdict(analysis),
        pair=_pair_of(_tested_pairs(data, analysis, question), question, devices) if question else None,
        smallest_detectable_r=analysis.smallest_detectable_r,
        seed=recorded_seed(data),
        minutes=int(data.step_time_ns[-1] - data.step_time_ns[0]) / 60e9,
        devices=devices,
        truth=truth if isinstance(truth, dict) else None,
        repeats=None if repeated is None else (series[repeated[0]].run.run_id, repeated[1]),
    )


def _tested_pairs(data: RunSeries, analysis: Analysis, question: _Names) -> list[Pair]:
    """Return a run's pairs; those of a signal that no analysis tests by itself, a metric, where it has it."""
    x, y, _ = question
    if x in TRAINING_SIGNALS:
        return analysis.pairs
    return analyze_run(data.run, x, y, series=data).pairs if data.has_training(x) else []


def _pair_of(pairs: list[Pair], question: _Names, devices: dict[str, str]) -> Pair | None:
    x, y, role = question
    found = [pair for pair in pairs if (pair.x, pair.y, pair.device) == (x, y, devices.get(role))]
    return next(iter(most_telling(found)), None)


def _pairs_in_common(series: Sequence[RunSeries], x: str | None, y: str | None) -> list[_Names]:
    """Return (x, y, role) that at least two runs have, the default order first."""
    first, second = (x,) if x else TRAINING_SIGNALS, (y,) if y else HARDWARE_SIGNALS
    roles = list(dict.fromkeys(role for data in series for role in data.roles))
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
    device = data.roles.get(role)
    if device is None or not data.has_training(x):
        return False
    values = device.signal(y)
    if values is None or not np.isfinite(values).any():
        return False
    return float(np.nanmax(values)) > float(np.nanmin(values))


def _common_period(series: Sequence[RunSeries], names: Sequence[_Names]) -> tuple[float, list[str]]:
    """Return the bin that fits the slowest run, and a sentence where the runs' clocks differ."""
    found = _regular_pairs(series, *names[0]) if names else []
    slowest = max((pair.period_s for _, pair in found), default=1.0)
    if slowest <= _SAME_PERIOD * min((pair.period_s for _, pair in found), default=1.0):
        return 1.0 if slowest < _SAME_PERIOD else slowest / _SAME_PERIOD, []
    clocks = ", ".join(f"{run_id} {pair.period_s:.3g} s" for run_id, pair in found)
    return slowest, [
        f"The runs have different clocks ({clocks}): all are compared in bins of {slowest:.3g} s."
    ]


def _regular_pairs(
    series: Sequence[RunSeries], x: str, y: str, role: str, min_period_s: float = 1.0
) -> list[tuple[str, RegularPair]]:
    """Return both signals of every run that has them, with its run id."""
    found = []
    for data in series:
        device = data.roles.get(role)
        pair = None if device is None else regular_pair(data, device, x, y, min_period_s)
        if pair is not None:
            found.append((data.run.run_id, pair))
    return found


def _across(
    series: Sequence[RunSeries], x: str, y: str, role: str, period_s: float, max_lag_s: float, tests: int
) -> list[PairAcross]:
    """Test one pair of signals over the runs, in both directions."""
    varying = [data for data in series if _has(data, x, y, role)]
    found = _regular_pairs(varying, x, y, role, period_s)
    names, pairs = [run_id for run_id, _ in found], [pair for _, pair in found]
    period_s = float(np.median([pair.period_s for pair in pairs])) if pairs else period_s
    own, others = _naive(pairs)
    results = []
    for family in _FAMILIES:
        swap = session_swap(
            [pair.x for pair in pairs],
            [pair.y for pair in pairs],
            [pair.drivers[:, ~pair.moved] for pair in pairs],
            unlagged=[pair.unlagged for pair in pairs],
            moved=[pair.drivers[:, pair.moved] for pair in pairs],
            max_lag=max(1, round(max_lag_s / period_s)),
            permutations=max(999, 50 * tests - 1),  # so that the smallest p survives the correction
            family=family,
        )
        # The swap knows only arrays: "Run 3" gets its name here.
        swap.reasons[:] = [
            re.sub(r"\b[Rr]un (\d+)", lambda match: names[int(match[1])], reason) for reason in swap.reasons
        ]
        run_ids = [names[place] for place in swap.run_index] if swap.run_r.size else []
        results.append(PairAcross(x, y, role, family, period_s, swap, run_ids, own, others))
    return results


def _naive(pairs: Sequence[RegularPair]) -> tuple[float, float]:
    """Return the median naive r with the own hardware, and with the others'."""
    own = [naive_pearson(pair.x, pair.y) for pair in pairs]
    others = []
    for first, second in itertools.permutations(pairs, 2):
        length = min(first.x.size, second.y.size)
        others.append(naive_pearson(first.x[:length], second.y[:length]))
    return _median(own), _median(others)


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
