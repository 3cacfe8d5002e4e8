"""Offsets between clocks from step ends: arrays in, lines and their uncertainty out.

Collectives end together: each rank notes the end of step k a little after the same true moment. By so much
as two hosts' notes differ, their clocks do, but for the lateness, which is one-sided and small. A host's end
is that of its earliest rank; the moment of a step is the median over hosts; an offset is a line through the
differences, broken where a clock was set. Where step ends do not follow one another, as of trainings that
do not wait for each other, there is no offset, and the reason is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from thermograd.store.clocks.lines import Floats, Piece, offset_at, pieces_through, standard_error_s
from thermograd.store.clocks.renumbered import numbered_as
from thermograd.store.clocks.step_ends import StepEnds

FEWEST_STEPS = 30
_MOST_STEPS = 20_000  # that are looked at; of more a share, evenly
_ROUNDS = 2
_FAR_STEPS = 16  # differences so many steps apart, of few steps a third, tell a wandering from an offset
_BETTER = 0.7
_MOST_SLOPE = 1e-3  # a clock that drifts more is none: NTP slews by 5e-4 at most
_LOW, _MIDDLE, _HIGH = 0.1, 0.5, 0.9  # quantiles of the lateness
_LEAST_S = 1e-4  # even collectives end no closer together
_ENVELOPE_HOSTS = 4  # so many make the median over hosts a moment of its own
_Z = 1.96
_MORE_ROOM = 2.0  # an interval's ends: a line is less sure there than in its middle


@dataclass(frozen=True, slots=True)
class Offset:
    """By how much a clock is ahead of the reference, as lines over its own time.

    `unsure_s` is the half-width of a 95 % interval; `reason` says why there is none (then no pieces).
    """

    pieces: list[Piece] = field(default_factory=list)
    unsure_s: float | None = None
    steps: int = 0
    reason: str | None = None

    def at(self, time_s: Floats) -> Floats:
        """Return the offset at times of this clock, s."""
        return offset_at(self.pieces, time_s)


def clock_offsets(ends: Mapping[str, StepEnds], reference: str) -> dict[str, Offset]:
    """Return by how much each clock is ahead of the reference's, and how sure that is.

    Parameters
    ----------
    ends
        Step ends of each clock, by its name.
    reference
        Whose clock counts as right; its own offset is zero.
    """
    own = ends[reference]
    ends = {name: each if name == reference else _as_numbered(each, own) for name, each in ends.items()}
    reasons = {name: _disagree(each, own) for name, each in ends.items() if name != reference}
    agreeing = [reference, *(name for name, reason in reasons.items() if not reason)]
    offsets = {name: Offset(reason=reason) for name, reason in reasons.items() if reason}
    offsets |= _fitted({name: ends[name] for name in agreeing}, reference)
    zero = Offset([Piece(float(own.time_s[0]), float(own.time_s[-1]), 0.0, 0.0, own.step.size)], 0.0)
    return {name: zero if name == reference else offsets[name] for name in ends}


def _as_numbered(ends: StepEnds, own: StepEnds) -> StepEnds:
    """Return step ends, with the reference's numbers where the host's own do not agree with it."""
    renumbered = numbered_as(ends, own)
    if renumbered is None or _disagree(renumbered, own):
        return ends
    # Numbers that are one off scatter like the steps' own lengths: right ones do far less.
    is_better = _scatter(renumbered, own) < _BETTER * _scatter(ends, own)
    return renumbered if is_better or _disagree(ends, own) else ends


def _scatter(ends: StepEnds, own: StepEnds) -> float:
    _, mine, theirs = np.intersect1d(ends.step, own.step, return_indices=True)
    return _spread(np.diff(ends.time_s[mine] - own.time_s[theirs])) if mine.size > 1 else np.inf


def _disagree(ends: StepEnds, own: StepEnds) -> str | None:
    """Return why two clocks cannot be compared by their step ends; None where they can."""
    _, mine, theirs = np.intersect1d(ends.step, own.step, return_indices=True)
    if mine.size < FEWEST_STEPS:
        return f"only {mine.size} steps in common, at least {FEWEST_STEPS} are needed"
    apart = ends.time_s[mine] - own.time_s[theirs]
    period_s = float(np.median(np.diff(own.time_s[theirs])))
    far_steps = min(_FAR_STEPS, apart.size // 3)
    near, far = _spread(np.diff(apart)), _spread(apart[far_steps:] - apart[:-far_steps])
    # Over so many steps an offset spreads as over one, a random walk by their root as far; between the two:
    if far > far_steps**0.25 * max(near, 1e-6):
        return "the step ends drift apart as of trainings that do not wait for each other"
    slope = abs(pieces_through(own.time_s[theirs], apart)[0].slope)
    if slope > _MOST_SLOPE:
        return f"the step ends drift apart by {1e6 * slope:,.0f} ppm, more than clocks do"
    if near > period_s / 2:
        return f"the step ends scatter by {near:.2g} s, as much as a step takes ({period_s:.2g} s)"
    return None


def _spread(values: Floats) -> float:
    """Return half the width of the middle half; a few jumps do not widen it."""
    low, high = np.quantile(values, (0.25, 0.75)) if values.size else (0.0, 0.0)
    return float(high - low) / 2


def _fitted(ends: dict[str, StepEnds], reference: str) -> dict[str, Offset]:
    names = list(ends)
    times = _table(list(ends.values()), names.index(reference))
    if len(names) < 2:
        return {}
    lines = [_through(row, times[names.index(reference)]) for row in times]
    for _ in range(_ROUNDS if len(names) > 2 else 0):  # two hosts: their difference says all
        moments = _moments(times, lines)
        lines = [_through(row, moments) for row in times]
    return _offsets(names, names.index(reference), times, lines)


def _table(ends: list[StepEnds], reference: int) -> Floats:
    """Return each clock's times of the steps that the reference has, NaN where it has none."""
    steps = ends[reference].step
    steps = steps[:: -(-steps.size // _MOST_STEPS)]
    times = np.full((len(ends), steps.size), np.nan)
    for row, each in zip(times, ends, strict=True):
        _, here, there = np.intersect1d(steps, each.step, return_indices=True)
        row[here] = each.time_s[there]
    return times


def _through(row: Floats, moments: Floats) -> list[Piece]:
    known = np.isfinite(row) & np.isfinite(moments)
    return pieces_through(row[known], row[known] - moments[known])


def _moments(times: Floats, lines: list[list[Piece]]) -> Floats:
    """Return when each step ended by the reference's clock: the median over hosts, set right."""
    right = np.array([row - offset_at(line, row) for row, line in zip(times, lines, strict=True)])
    return np.asarray(np.nanmedian(right, axis=0))


def _offsets(names: list[str], reference: int, times: Floats, lines: list[list[Piece]]) -> dict[str, Offset]:
    """Return offsets against the reference: levels by the early quantile of the lateness, with intervals."""
    moments = _moments(times, lines) if len(names) > 2 else times[reference]
    late = np.array([row - offset_at(line, row) - moments for row, line in zip(times, lines, strict=True)])
    low, middle, high = np.nanquantile(late, (_LOW, _MIDDLE, _HIGH), axis=1)
    has_envelope = len(names) >= _ENVELOPE_HOSTS
    levels = low if has_envelope else middle
    # What lateness that is not alike on two hosts may have moved the level by.
    skews = middle - low if has_envelope else low + high - 2 * middle
    own = lines[reference]
    found = {}
    for place, name in enumerate(names):
        if place == reference:
            continue
        shift = float(levels[place] - levels[reference])
        pieces = [_against(piece, own, shift) for piece in lines[place]]
        left = late[place] - late[reference]
        left = left[np.isfinite(left)]
        fewest = min(piece.steps for piece in (*pieces, *own))
        error_s = standard_error_s(left) * np.sqrt(left.size / fewest)
        skew_s = abs(float(skews[place] - skews[reference]))
        found[name] = Offset(pieces, float(_MORE_ROOM * _Z * error_s + skew_s + _LEAST_S), left.size)
    return found


def _against(piece: Piece, own: list[Piece], shift: float) -> Piece:
    """Return a piece less the reference's own line, which is next to nothing."""
    at = np.array([piece.start_s - piece.level_s, piece.end_s - piece.level_s])
    start, end = offset_at(own, at).tolist()
    slope = (end - start) / (piece.end_s - piece.start_s) if piece.end_s > piece.start_s else 0.0
    return Piece(
        piece.start_s,
        piece.end_s,
        piece.level_s + shift - start,
        piece.slope - slope,
        piece.steps,
    )
