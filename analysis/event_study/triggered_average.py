"""What the hardware does around gradient spikes, against windows of the same run without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.event_study.coincidence import any_within

_FEWEST_SPIKES = 5
_CONTROLS_EACH = 4
_SHIFTS, _FEWEST_SHIFTS = 199, 99
_ROUNDING, _NOTHING = 1e-12, 1e-300
_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class TriggeredAverage:
    """Mean course of a signal around spikes, controls taken off; in the signal's unit.

    Attributes
    ----------
    offset
        Shape (before + 1 + after,): bins after the spike, -before..after.
    mean, low, high
        Same shape: mean over the spikes of (signal - its mean before the spike - the same of the spike's
        own controls), and its 95 % interval at every offset by itself.
    effect, effect_low, effect_high
        The mean over the bins after the spike, per spike, with its 95 % interval: degC per spike for
        a temperature.
    n_spikes, n_spikes_found
        Spikes used (with a whole window and controls), and all of them.
    n_controls
        Control windows used, each of them perhaps by several spikes.
    reason
        Why there are no numbers (then all are NaN); None otherwise.
    """

    offset: Ints
    mean: Floats
    low: Floats
    high: Floats
    effect: float = float("nan")
    effect_low: float = float("nan")
    effect_high: float = float("nan")
    n_spikes: int = 0
    n_spikes_found: int = 0
    n_controls: int = 0
    reason: str | None = None


def event_triggered_average(
    y: ArrayLike,
    spikes: ArrayLike,
    before: int = 5,
    after: int = 12,
    *,
    segments: ArrayLike | None = None,
    seed: int = 0,
) -> TriggeredAverage:
    """Average a signal around spikes, minus matched control windows.

    No spike lies within before + after bins of a control window's centre. Each spike gets the 4 controls
    nearest in time, two on each side where there are so many, so that trends cancel. The intervals
    come from the same done with the spikes turned around the run by 199 random shifts: neighbouring
    spikes share controls and parts of their windows, and so do their shifted copies. Since spikes may crowd
    where the signal is restless, the shifts are compared in their own standard errors as well.

    Parameters
    ----------
    y
        Shape (n,): the signal on a regular grid, in its unit; NaN where not known.
    spikes
        Shape (n,): True or 1 in a bin with a spike (see `onsets.residual_spikes`).
    before, after
        Window around a spike, in bins, at least 1 each. The mean over the bins before is its level.
    segments
        Shape (n,): number of the gap-free stretch of every bin, ascending; windows stay within one.
    seed
        Of the shifts.

    Returns
    -------
    TriggeredAverage
        With a `reason` where fewer than 5 spikes have a whole window and controls.

    Raises
    ------
    ValueError
        If shapes do not agree or a side of the window is empty.

    Examples
    --------
    >>> spikes = np.zeros(400, dtype=bool)
    >>> spikes[20::40] = True
    >>> heat = 0.01 * np.arange(400) + np.convolve(spikes, [0, 0] + [2.0] * 10)[:400]
    >>> bool(1.0 < event_triggered_average(heat, spikes, after=12).effect < 2.0)
    True
    """
    values, struck = np.asarray(y, dtype=np.float64), np.asarray(spikes, dtype=np.float64) > 0
    stretch = np.zeros(values.size, dtype=np.int64) if segments is None else np.asarray(segments)
    if values.ndim != 1 or struck.shape != values.shape or stretch.shape != values.shape:
        raise ValueError(
            f"y has shape {values.shape}, spikes {struck.shape} and segments {stretch.shape}; "
            "expected one equal dimension"
        )
    if before < 1 or after < 1:
        raise ValueError(f"before is {before!r} and after {after!r}; expected at least 1 bin each")
    offset = np.arange(-before, after + 1)
    courses = _courses(values, _whole_windows(values, stretch, before, after), offset, before)
    own, found = _contrast(courses, struck, before, after), int(struck.sum())
    if own is None:
        return _nothing(offset, found, _too_few(found))
    shifts = np.random.default_rng(seed).permutation(values.size - 1)[:_SHIFTS] + 1
    drawn = (_contrast(courses, np.roll(struck, shift), before, after) for shift in shifts)
    chance = [placebo for placebo in drawn if placebo is not None]
    if len(chance) < _FEWEST_SHIFTS:
        return _nothing(offset, found, f"{found} spikes so placed that hardly any shift leaves quiet windows")
    margin = _margin(own, chance)
    low, high = own.mean - margin, own.mean + margin
    return TriggeredAverage(
        offset=offset,
        mean=own.mean[:-1],
        low=low[:-1],
        high=high[:-1],
        effect=float(own.mean[-1]),
        effect_low=float(low[-1]),
        effect_high=float(high[-1]),
        n_spikes=own.n_spikes,
        n_spikes_found=found,
        n_controls=own.n_controls,
    )


def _too_few(found: int) -> str:
    return (
        f"{found} spike{'s' * (found != 1)}; at least {_FEWEST_SPIKES} with a whole window around them, "
        f"and {2 * _CONTROLS_EACH} windows without a spike, are needed"
    )


def _nothing(offset: Ints, found: int, reason: str) -> TriggeredAverage:
    unknown = np.full(offset.size, np.nan)
    return TriggeredAverage(offset, unknown, unknown, unknown, n_spikes_found=found, reason=reason)


def _whole_windows(values: Floats, stretch: Ints, before: int, after: int) -> Mask:
    """Return whether the window around every bin is known throughout and within one stretch."""
    n, width = values.size, before + after + 1
    whole = np.zeros(n, dtype=np.bool_)
    if n < width:
        return whole
    known = np.append(0, np.cumsum(np.isfinite(values)))
    complete = known[width:] - known[:-width] == width
    one_stretch = stretch[width - 1 :] == stretch[: n - width + 1]
    whole[before : n - after] = complete & one_stretch
    return whole


class _Contrast(NamedTuple):
    """The courses of spikes less those of their controls, at every offset and, last, over those after."""

    mean: Floats  # shape (width + 1,)
    error: Floats  # shape (width + 1,): standard error
    n_spikes: int
    n_controls: int


def _margin(own: _Contrast, chance: Sequence[_Contrast]) -> Floats:
    """Return what a mean stays within by chance: as it is, and in standard errors, the wider.

    Spikes may crowd where the signal is restless; then they vary more than elsewhere.
    """
    sizes = np.abs([placebo.mean for placebo in chance])
    in_errors = sizes / [placebo.error for placebo in chance]
    # The next larger value: of 199 shifts the 190th, which the spikes' own mean exceeds in 5 % by chance.
    plain, scaled = (np.quantile(each, _LEVEL, axis=0, method="higher") for each in (sizes, in_errors))
    return np.asarray(np.maximum(plain, scaled * own.error))


def _courses(values: Floats, whole: Mask, offset: Ints, before: int) -> Floats:
    """Return the course around every bin, from its level before; NaN where the window is not whole."""
    courses = np.full((values.size, offset.size), np.nan)
    centres = np.flatnonzero(whole)
    windows = values[centres[:, None] + offset]
    courses[centres] = windows - windows[:, :before].mean(axis=1, keepdims=True)
    return courses


def _contrast(courses: Floats, struck: Mask, before: int, after: int) -> _Contrast | None:
    """Return the mean course of spikes less that of their controls; None with too few of either."""
    whole = np.isfinite(courses[:, 0])
    at = np.flatnonzero(struck & whole)
    quiet = np.flatnonzero(whole & ~any_within(struck, -before - after, before + after))
    if at.size < _FEWEST_SPIKES or quiet.size < 2 * _CONTROLS_EACH:
        return None
    place = np.searchsorted(quiet, at) - _CONTROLS_EACH // 2
    first = np.clip(place, 0, quiet.size - _CONTROLS_EACH)
    controls = quiet[first[:, None] + np.arange(_CONTROLS_EACH)]
    each = courses[at] - courses[controls].mean(axis=1)
    each = np.column_stack([each, each[:, -after:].mean(axis=1)])
    return _Contrast(each.mean(axis=0), _error(each, at, before + after), at.size, np.unique(controls).size)


def _error(each: Floats, at: Ints, reach: int) -> Floats:
    """Return the standard error of the mean, spikes whose windows overlap counted as one group."""
    groups = np.flatnonzero(np.diff(at, prepend=-reach - 1) > reach)
    sums = np.add.reduceat(each - each.mean(axis=0), groups, axis=0)
    error = np.sqrt((sums * sums).sum(axis=0)) / len(each)
    # A course that repeats exactly has an error of rounding.
    return np.asarray(np.maximum(error, _ROUNDING * np.abs(each).max() + _NOTHING))
