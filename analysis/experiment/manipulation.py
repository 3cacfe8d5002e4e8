"""Whether hot blocks were hot: a sensor's block means, hot against cool, with the p-value of the coins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import family_p, randomisation_p
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.result import OF_HEAT, Manipulation

# The least that counts, in the signal's unit or as a share of its mean. A sensor of whole degrees that
# wavers between two of them moves a block's mean by up to 1; power and clocks waver by a percent or two on
# their own, utilisation by a few points; what an idle gap of 40 % or a power cap does is many times as much.
NEEDED = {"temperature_c": 2.0, "memory_temperature_c": 2.0, "utilization_pct": 10.0}
NEEDED_SHARE = {"power_w": 0.05, "sm_clock_mhz": 0.02, "memory_clock_mhz": 0.02, "step_time_s": 0.05}
_OTHER_SHARE = 0.05
# A hot device clocks lower, one that wakes up higher. What a step takes is the training's answer.
_EITHER_WAY = ("sm_clock_mhz", "memory_clock_mhz", "step_time_s")
_ALPHA = 0.05
_SETTLED = 0.5  # of a block, its later part, that counts: a device needs time to get warm
_TRIM = 0.25  # of a block's values, left out on each side: a sensor's glitches


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A signal that blocks are to move: samples in the order of time, and the blocks that they lie in.

    Attributes
    ----------
    outcome, device, unit
        The signal's name, by which it is known what is needed; of which device; its unit.
    values
        Shape (n,): NaN or infinite where not known.
    hot, pair
        Shape (n,): 1 in hot blocks, 0 in cool ones, NaN outside; the pair of blocks, -1 outside.
    needed
        The least difference that counts, in `unit`; None takes that of the signal.
    """

    outcome: str
    values: Floats
    hot: Floats
    pair: Ints
    device: str | None = None
    unit: str = ""
    needed: float | None = None


def check_manipulations(
    signals: Sequence[Measured], *, redraws: int = 1999, seed: int = 0
) -> list[Manipulation]:
    """Test whether the assigned blocks moved signals, by enough and the right way.

    Parameters
    ----------
    signals
        Of all devices: one family, tested on the same coins.
    redraws, seed
        Of the coins.

    Returns
    -------
    list of Manipulation
        Passed where the difference is as large as needed, hot above cool (a clock may fall or rise), and the
        family's p at most .05; a pair that lacks samples in one of its blocks is left out.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Notes
    -----
    The p-values are approximate: a sample lies in a block by its time, and when a block begins and ends is
    itself the draw's doing, as cool blocks last longer. Outcomes of the training, which are counted by step,
    have exact ones.
    """
    for one in signals:
        if not np.shape(one.values) == np.shape(one.hot) == np.shape(one.pair):
            shapes = f"{np.shape(one.values)}, {np.shape(one.hot)} and {np.shape(one.pair)}"
            raise ValueError(f"values, hot and pair have shapes {shapes}; allowed: one, (n,)")
    means = [_block_means(one.values, one.hot, one.pair) for one in signals]
    pairs = max((int(np.max(one.pair, initial=-1)) + 1 for one in signals), default=0)
    coins = redrawn_coins(pairs, redraws, seed)
    drawn = [np.abs(coins @ _of_all(*each, pairs)) for each in means]
    p = family_p([float(each[0]) for each in drawn], [each[1:] for each in drawn])
    told = zip(signals, means, drawn, p, strict=True)
    return [_checked(one, found[1], each, each_p) for one, found, each, each_p in told]


def heat_moved(checks: Sequence[Manipulation]) -> list[str]:
    """Return the signals through which blocks moved the devices as they were to; empty where they did not.

    Where any device measures temperature or power, one of them has to have moved. A device without either
    may have moved by its clock or by how busy it was, which is idleness and not heat.
    """
    passed = list(dict.fromkeys(check.outcome for check in checks if check.passed))
    has_heat = any(check.outcome in OF_HEAT and check.difference is not None for check in checks)
    return passed if not has_heat or set(passed) & set(OF_HEAT) else []


def moved_devices(checks: Sequence[Manipulation]) -> tuple[int, int]:
    """Return how many devices moved, by heat where they measure it, and how many there are."""
    devices = list(dict.fromkeys(check.device for check in checks if check.difference is not None))
    moved = [heat_moved([check for check in checks if check.device == device]) for device in devices]
    return sum(map(bool, moved)), len(devices)


def _of_all(numbers: Ints, means: Floats, pairs: int) -> Floats:
    """Return hot less cool of every pair, 0 of one that is left out."""
    differences = np.zeros(pairs)
    differences[numbers] = means[:, 0] - means[:, 1]
    return differences


def _checked(one: Measured, means: Floats, drawn: Floats, p_family: float) -> Manipulation:
    needed = _needed(one.outcome, means) if one.needed is None else one.needed
    told = (one.outcome, one.device, one.unit)
    if not means.size:
        return Manipulation(*told, None, None, None, None, needed, passed=False)
    hot, cool = (float(each) for each in means.mean(axis=0))
    difference = float((means[:, 0] - means[:, 1]).mean())
    moved = abs(difference) if one.outcome in _EITHER_WAY else difference
    passed = moved >= needed and difference != 0 and p_family <= _ALPHA
    p = randomisation_p(float(drawn[0]), drawn[1:])
    return Manipulation(*told, hot, cool, difference, p, needed, passed, p_family)


def _needed(outcome: str, means: Floats) -> float:
    if outcome in NEEDED:
        return NEEDED[outcome]
    share = NEEDED_SHARE.get(outcome, _OTHER_SHARE)
    return share * float(np.abs(means).mean()) if means.size else 0.0


def _block_means(values: Floats, hot: Floats, pair: Ints) -> tuple[Ints, Floats]:
    """Return the pairs that have both blocks, and the means of hot and cool of each, shape (pairs, 2)."""
    inside = np.flatnonzero((pair >= 0) & np.isfinite(hot))
    block = 2 * pair[inside] + (hot[inside] <= 0.5)
    order = np.argsort(block, kind="stable")
    numbers, first = np.unique(block[order], return_index=True)
    samples = np.split(values[inside][order], first[1:]) if numbers.size else []
    means = {int(n): _settled_mean(each) for n, each in zip(numbers, samples, strict=True)}
    both = [n for n in means if n % 2 == 0 and np.isfinite([means[n], means.get(n + 1, np.nan)]).all()]
    found = np.array([(means[n], means[n + 1]) for n in both], dtype=np.float64).reshape(-1, 2)
    return np.array(both, dtype=np.int64) // 2, found


def _settled_mean(samples: Floats) -> float:
    later = samples[samples.size - max(1, round(_SETTLED * samples.size)) :]
    later = np.sort(later[np.isfinite(later)])
    left_out = int(_TRIM * later.size)
    return float(later[left_out : later.size - left_out].mean()) if later.size else float("nan")
