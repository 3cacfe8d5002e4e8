"""Whether hot blocks were hot: a sensor's block means, hot against cool, with the p-value of the coins."""

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.result import Manipulation

# The least that counts, in the signal's unit or as a share of its mean. A sensor of whole degrees that
# wavers between two of them moves a block's mean by up to 1; power and clocks waver by a percent or two on
# their own, utilisation by a few points; what an idle gap of 40 % or a power cap does is many times as much.
NEEDED = {"temperature_c": 2.0, "memory_temperature_c": 2.0, "utilization_pct": 10.0}
NEEDED_SHARE = {"power_w": 0.05, "sm_clock_mhz": 0.02, "memory_clock_mhz": 0.02, "step_time_s": 0.05}
_OTHER_SHARE = 0.05
_ALPHA = 0.05
_TRIM = 0.25  # of a block's values, left out on each side: a sensor's glitches


def check_manipulation(
    outcome: str,
    values: Floats,
    hot: Floats,
    pair: Ints,
    *,
    device: str | None = None,
    unit: str = "",
    settled: float = 0.5,
    needed: float | None = None,
    redraws: int = 1999,
    seed: int = 0,
) -> Manipulation:
    """Test whether the assigned blocks moved a signal, and by enough.

    Parameters
    ----------
    outcome
        The signal's name; what is needed depends on it.
    values
        Shape (n,): samples in the order of time, NaN or infinite where not known.
    hot
        Shape (n,): 1 in hot blocks, 0 in cool ones, NaN outside.
    pair
        Shape (n,): the pair of blocks that a sample lies in, -1 outside.
    device, unit
        Of the signal.
    settled
        Share of a block, its later part, that counts: a device needs time to get warm.
    needed
        The least difference that counts, in `unit`; None takes that of the signal.
    redraws, seed
        Of the coins.

    Returns
    -------
    Manipulation
        Passed where the difference is as large as needed and its p at most .05; a pair that lacks samples in
        one of its blocks is left out.

    Raises
    ------
    ValueError
        If the shapes do not agree.
    """
    if not np.shape(values) == np.shape(hot) == np.shape(pair):
        raise ValueError(
            f"values, hot and pair have shapes {np.shape(values)}, {np.shape(hot)} and {np.shape(pair)}; "
            "allowed: one, (n,)"
        )
    means = _block_means(values, hot, pair, settled)
    if needed is None:
        needed = _needed(outcome, means)
    if not means.size:
        return Manipulation(outcome, device, unit, None, None, None, None, needed, passed=False)
    hot_mean, cool_mean = (float(each) for each in means.mean(axis=0))
    each = means[:, 0] - means[:, 1]
    difference = float(each.mean())
    drawn = np.abs(redrawn_coins(each.size, redraws, seed) @ each)
    p = randomisation_p(drawn[0], drawn[1:])
    passed = abs(difference) >= needed and difference != 0 and p <= _ALPHA
    return Manipulation(outcome, device, unit, hot_mean, cool_mean, difference, p, needed, passed)


def _needed(outcome: str, means: Floats) -> float:
    if outcome in NEEDED:
        return NEEDED[outcome]
    share = NEEDED_SHARE.get(outcome, _OTHER_SHARE)
    return share * float(np.abs(means).mean()) if means.size else 0.0


def _block_means(values: Floats, hot: Floats, pair: Ints, settled: float) -> Floats:
    """Return the means of the hot and the cool block of each pair that has both, shape (pairs, 2)."""
    inside = np.flatnonzero((pair >= 0) & np.isfinite(hot))
    block = 2 * pair[inside] + (hot[inside] <= 0.5)
    order = np.argsort(block, kind="stable")
    numbers, first = np.unique(block[order], return_index=True)
    samples = np.split(values[inside][order], first[1:]) if numbers.size else []
    means = {int(n): _settled_mean(each, settled) for n, each in zip(numbers, samples, strict=True)}
    both = [(means[n], means[n + 1]) for n in means if n % 2 == 0 and n + 1 in means]
    found = np.array(both, dtype=np.float64).reshape(-1, 2)
    return found[np.isfinite(found).all(axis=1)]


def _settled_mean(samples: Floats, settled: float) -> float:
    later = samples[samples.size - max(1, round(settled * samples.size)) :]
    later = np.sort(later[np.isfinite(later)])
    left_out = int(_TRIM * later.size)
    return float(later[left_out : later.size - left_out].mean()) if later.size else float("nan")
