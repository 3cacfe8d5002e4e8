"""Whether the training is unusual just before events of the hardware: collapses, throttling.

A flag that stays up is one event, not many: so what is tested is its onsets, not its level.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired, paired_residuals
from thermograd.analysis.coupling.evidence.resampling import permutation_p, sign_flip_p
from thermograd.analysis.coupling.evidence.shift_gate import can_decide, shift_p
from thermograd.analysis.coupling.responses import LaggedPair, Searched, responses
from thermograd.analysis.remembered import Remembered

FEWEST_ONSETS = 40
_ALPHA = 0.05
_WIDTHS = (1, 4)
_SPIKE_SD = 4.0


@dataclass(frozen=True, slots=True)
class OnsetTest:
    """What `onset_test` found.

    Attributes
    ----------
    p
        Of the largest window sum, the largest of three: by random orders of the residuals, by random signs,
        and by other shifts of the onsets where the run has enough of them; NaN if `reason` is set. Random
        orders alone reject a third of uncoupled runs in which x is restless where onsets crowd, and both a
        seventh of those in which x and the onsets keep a rhythm that wanders.
    effect
        Mean residual of x per bin in that window, in its standard deviations.
    lag, width
        The window: bins from the last one of x's window to the onset, and bins in it. lag 2 and width
        4 mean x from 5 to 2 bins before the onset.
    n_onsets, n
        Onsets and bins that entered.
    reason
        Why there is no p; None otherwise.
    """

    p: float = float("nan")
    effect: float = float("nan")
    lag: int = 0
    width: int = 1
    n_onsets: int = 0
    n: int = 0
    reason: str | None = None


def onset_test(
    x: ArrayLike,
    onsets: ArrayLike,
    drivers: ArrayLike | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
    *,
    unlagged: ArrayLike | None = None,
    segments: ArrayLike | None = None,
    fewest_onsets: int = FEWEST_ONSETS,
    remembered: Remembered | None = None,
) -> OnsetTest:
    """Test whether x is high or low in a window of 1 or 4 bins at some lag before the onsets.

    The residuals of x (see `residual_cross_correlation`) are summed over the window before every
    onset. The largest sum over lags and widths, each in units of its own spread, is compared with
    the largest ones in random orders, and under random signs, of the residuals, projected off trend
    and drivers again.

    Parameters
    ----------
    x
        Shape (n,): training signal on a regular grid.
    onsets
        Shape (n,): True or 1 in a bin in which an event began.
    drivers, unlagged, segments, permutations, seed
        As for `residual_cross_correlation`.
    max_lag
        Largest lag, in bins; lags 0..max_lag are searched.
    fewest_onsets
        Below this no p is given: the test would hang on single events.
    remembered
        What was worked out for other tests of the same series is not worked out again.

    Raises
    ------
    ValueError
        If shapes do not agree or max_lag is negative.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> onsets = rng.random(900) < 0.08
    >>> found = onset_test(rng.standard_normal(900) + 1.5 * np.roll(onsets, -3), onsets)
    >>> found.lag, found.width, found.p < 0.01
    (3, 1, True)
    """
    if max_lag < 0:
        raise ValueError(f"max_lag is {max_lag!r}; expected bins >= 0")
    began = (np.asarray(onsets, dtype=np.float64) > 0).astype(np.float64)
    count, fewest = int(began.sum()), max(fewest_onsets, 1)
    if count < fewest:
        reason = f"only {count} onset{'s' * (count != 1)}; at least {fewest} are needed"
        return OnsetTest(n_onsets=count, n=began.size, reason=reason)
    shortest = 2 * (max_lag + 4)
    cleaned = paired_residuals(
        x, began, drivers, segments, unlagged=unlagged, shortest=shortest, remembered=remembered
    )
    if cleaned.reason:
        return OnsetTest(n_onsets=count, n=cleaned.rows.size, reason=cleaned.reason)
    began = began[cleaned.rows]
    pair, windows = _windows(cleaned, began, max_lag)
    rng = np.random.default_rng(seed)
    profile = np.abs(pair.profile())
    lag, width = windows[int(np.argmax(profile))]
    before = _ahead(began, cleaned, np.arange(lag, lag + width))
    mean = float((cleaned.x @ before).sum() / max(float(before.sum()), 1.0))
    p = max(test(pair, float(profile.max()), permutations, rng) for test in (permutation_p, sign_flip_p))
    return OnsetTest(
        p=max(p, _usual_elsewhere(cleaned, began, width, max_lag)) if p <= _ALPHA else p,
        effect=mean / float(np.std(cleaned.x)),
        lag=lag,
        width=width,
        n_onsets=int(began.sum()),
        n=cleaned.rows.size,
    )


def _usual_elsewhere(cleaned: Paired, began: Floats, width: int, max_lag: int) -> float:
    """Return how usual such a peak of windows of that width is at other shifts; 0 with too few of them."""
    looked = Searched(np.arange(max_lag + 1), np.empty(0))
    if not can_decide(cleaned.place, looked):
        return 0.0
    ahead = _ahead(began, cleaned, np.arange(width)).sum(axis=1)
    return shift_p(cleaned.x, ahead - ahead.mean(), cleaned.place, looked)


def onsets_of(flag: ArrayLike) -> Mask:
    """Return the bins in which a flag goes up, shape (n,); unknown bins (NaN) count as down."""
    up = np.asarray(flag, dtype=np.float64) > 0
    return np.asarray(up & ~np.append(False, up[:-1]))


def residual_spikes(residual: ArrayLike, deviations: float = _SPIKE_SD) -> Mask:
    """Return the bins whose residual is a spike upwards, shape (n,): the one rule for spikes after a run.

    A spike is more than so many robust standard deviations (1.4826 times the median absolute deviation) above
    the median of all residuals that are known; NaN stands for the others. Give innovations, not raw values:
    of a falling series the first raw values all lie above any threshold. It differs from the live detector
    (`thermograd.stream.spike`), which knows the past alone; what that one told a person, its alerts, is what
    coincidences with collapses are counted from.
    """
    values = np.asarray(residual, dtype=np.float64)
    known = values[np.isfinite(values)]
    if known.size < 3:
        return np.zeros(values.size, dtype=np.bool_)
    centre = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - centre)))
    high: Mask = np.nan_to_num(values, nan=centre) > centre + deviations * spread
    return high if spread > 0 else np.zeros(values.size, dtype=np.bool_)


def _windows(cleaned: Paired, began: Floats, max_lag: int) -> tuple[LaggedPair, list[tuple[int, int]]]:
    """Line up the onsets with every window: a window's sum of x is then one product with x."""
    ahead = _ahead(began, cleaned, np.arange(max_lag + max(_WIDTHS)))
    windows = [(lag, width) for width in _WIDTHS for lag in range(max_lag + 1)]
    stacked = np.column_stack([ahead[:, lag : lag + width].sum(axis=1) for lag, width in windows])
    basis = cleaned.basis_x
    new = basis.taken_out_of(stacked)
    unit = new / np.maximum(np.linalg.norm(new, axis=0), 1e-300)
    return LaggedPair(cleaned.x, unit, basis, np.ones(len(windows))), windows


def _ahead(began: Floats, cleaned: Paired, lags: Ints) -> Floats:
    """Return whether an onset is so many bins later, shape (m, n_lags)."""
    back = cleaned.place[-1] - cleaned.place[::-1]
    return responses(began[::-1], back, Searched(lags, np.empty(0)))[::-1]
