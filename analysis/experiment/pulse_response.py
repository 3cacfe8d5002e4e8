"""How an outcome answers pulses: the test, the course over lags with its band, the size with its interval."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.pulse_cleaning import Cleaned, cleaned
from thermograd.analysis.experiment.pulse_scores import Draw, Scores
from thermograd.analysis.experiment.result import Interval

_SINGLE_LAGS, _MEMORIES_BINS, _LATE_BINS = 4, (3.0, 10.0, 30.0), (2, 5)
_BOX_BINS = 3
_ROUNDS = 3  # of taking the response out and cleaning again
_HALVINGS, _DOUBLINGS = 18, 8
_POWER_SD = 1.2816  # standard normal quantile of a power of .9
_RIDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The test of no effect: the largest |score / sd| over shapes, and shape (r,) of the redraws."""

    statistic: float
    redrawn: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """How large the response is, in the outcome's unit.

    Attributes
    ----------
    course, half_width
        Shape (lags,): the response, and what its simultaneous band reaches to each side.
    best, size, interval
        The shape that fits best, its largest lag, and the sizes not excluded; None where none can be.
    farthest
        Of all shapes, the size farthest from 0 that the test does not exclude.
    detectable
        The least size that would have been found with a power of .9, whichever the shape.
    sd
        Of the outcome without the response, about its trend.
    """

    course: Floats
    half_width: Floats
    best: int
    size: float
    interval: Interval | None
    farthest: float
    detectable: float
    sd: float


def shapes(lags: int) -> Floats:
    """Return the responses that are looked for, largest value 1; shape (j, lags).

    One lag alone, a few bins, or a memory that fades from the start or later.
    """
    lag = np.arange(lags)
    found = [(lag == single).astype(np.float64) for single in range(min(_SINGLE_LAGS, lags))]
    found += [np.exp(-lag / memory) for memory in _MEMORIES_BINS]
    late = [begin for begin in _LATE_BINS if begin < lags - 1]
    found += [np.where(lag >= begin, np.exp(-(lag - begin) / _MEMORIES_BINS[1]), 0.0) for begin in late]
    if lags > _BOX_BINS:
        found.append((lag < _BOX_BINS).astype(np.float64))
    return np.stack(found)


def searched(draw: Draw, clean: Cleaned, looked: Floats) -> Tested:
    """Test whether the draw has anything to do with the outcome."""
    rows = draw.scores(clean).rows @ looked.T
    sd = np.sqrt(draw.variance(rows))
    scaled = rows / np.where(sd > 0, sd, np.inf)
    observed = np.abs(draw.observed(scaled))
    return Tested(float(observed.max()), np.abs(draw.redrawn(scaled)).max(axis=1))


def measured(draw: Draw, values: Floats, basis: Floats, looked: Floats, level: float) -> Measured | None:
    """Return the response, with what the test, turned round, does not exclude; None where it has no scale.

    The response is taken out, the rest cleaned and scored anew: a response of another course leaves a rest
    with another score, which is compared with the redraws of that rest.
    """
    course, clean, scores = np.zeros(draw.strata.lags), cleaned(values, basis, robust=False), None
    for _ in range(_ROUNDS):
        if clean is None:
            return None
        scores = draw.scores(clean)
        change = _solved(draw.observed(scores.answer), draw.observed(scores.rows))
        course = course + change
        clean = cleaned(values - draw.response(values.size, course), basis)
    if clean is None:
        return None
    scores = draw.scores(clean)
    grown = draw.observed(scores.answer)
    course_rows = _solved(grown, scores.rows.T).T
    course_sd, course_limit = _limit(draw, course_rows, level)
    shape_rows = scores.rows @ looked.T
    shape_sd, shape_limit = _limit(draw, shape_rows, level)
    per_size = np.einsum("jk,kl,jl->j", looked, grown, looked)
    sizes = (draw.observed(shape_rows) + looked @ grown @ course) / per_size
    reach = shape_sd / np.abs(per_size)
    best = int((np.abs(sizes) / reach).argmax())
    return Measured(
        course,
        course_limit * course_sd,
        best,
        float(sizes[best]),
        _interval(draw, scores, course, looked, best, float(sizes[best]), float(reach[best]), level),
        float((np.abs(sizes) + shape_limit * reach).max()),
        float(((shape_limit + _POWER_SD) * reach).max()),
        clean.sd,
    )


def _solved(matrix: Floats, right: Floats) -> Floats:
    ridge = _RIDGE * float(np.abs(np.diag(matrix)).max()) + np.finfo(np.float64).tiny
    return np.asarray(np.linalg.solve(matrix + ridge * np.eye(matrix.shape[0]), right))


def _limit(draw: Draw, rows: Floats, level: float) -> tuple[Floats, float]:
    """Return the sd of each column, and how many of them no column exceeds in this share of the redraws."""
    sd = np.sqrt(draw.variance(rows))
    scaled = draw.redrawn(rows / np.where(sd > 0, sd, np.inf))
    return sd, _quantile(np.abs(scaled).max(axis=1), level)


def _quantile(largest: Floats, level: float) -> float:
    """Return the value with a p-value above 1 - level, the largest there is among the redraws."""
    rank = min(int(np.ceil(level * (largest.size + 1))), largest.size) - 1
    return float(np.partition(largest, rank)[rank])


def _interval(
    draw: Draw,
    scores: Scores,
    course: Floats,
    looked: Floats,
    best: int,
    size: float,
    reach: float,
    level: float,
) -> Interval | None:
    """Return the sizes of one shape that the test does not exclude, the other shapes searched alike."""
    shape = looked[best]
    parts = [scores.rows @ looked.T, (scores.answer @ course) @ looked.T, (scores.answer @ shape) @ looked.T]
    redrawn, observed = [draw.redrawn(part) for part in parts], [draw.observed(part)[best] for part in parts]

    def excluded(tried: float) -> bool:
        rows, drawn, seen = (each[0] + each[1] - tried * each[2] for each in (parts, redrawn, observed))
        sd = np.sqrt(draw.variance(rows))
        sd = np.where(sd > 0, sd, np.inf)
        limit = _quantile(np.abs(drawn / sd).max(axis=1), level)
        return bool(abs(seen) / sd[best] > limit)

    ends = []
    for sign in (-1.0, 1.0):
        inside, step = 0.0, 3.0 * reach
        for _ in range(_DOUBLINGS):
            if excluded(size + sign * step):
                break
            inside, step = step, 2.0 * step
        else:
            return None
        for _ in range(_HALVINGS):
            middle = (inside + step) / 2.0
            inside, step = (inside, middle) if excluded(size + sign * middle) else (middle, step)
        ends.append(size + sign * step)
    return ends[0], ends[1]
