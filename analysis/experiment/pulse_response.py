"""How an outcome answers pulses: the test, the course over lags with its band, the size with its interval."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.pulse_cleaning import Cleaned, cleaned
from thermograd.analysis.experiment.pulse_scores import Draw
from thermograd.analysis.experiment.result import Interval

_SINGLE_LAGS, _BOX_BINS = 4, 3
_BEGINS_BINS, _MEMORIES_BINS = (0, 2, 4), (3.0, 10.0, 30.0)
_LAST_BEGIN_BINS, _ALL_MEMORIES_BINS = 6, (1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
_ROUNDS = 3  # of taking the response out and cleaning again
_TAIL_BINS = 60
_POWER_SD = 1.2816  # standard normal quantile of a power of .9
_RIDGE, _TINY = 1e-9, float(np.finfo(np.float64).tiny)
_BAND_REDRAWS = 499
_BAND_WIDER = 1.05  # what cleaning anew after each fit adds to its error (benchmarks/experiment_pulses.py)


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
    course, tail
        Shape (lags,) and (more,): the response, and how it goes on as the outcome forgets.
    half_width
        Shape (lags,): what the simultaneous band of the course reaches to each side. It counts on a response
        that is over a stratum after its pulse, or fades from there as the outcome forgets.
    size, lag, interval
        The largest value of the shape that fits best, and the lag of it; from the least to the largest size
        of any response that explains the scores. Where none does: the course's peak and its band.
    farthest
        Of all shapes, the size farthest from 0 that is not excluded if the shape is the right one.
    detectable
        The least size that would have been found with a power of .9, whichever the shape.
    sd
        Of the outcome without the response, about its trend.
    """

    course: Floats
    tail: Floats
    half_width: Floats
    size: float
    lag: int
    interval: Interval
    farthest: float
    detectable: float
    sd: float


def shapes(lags: int) -> Floats:
    """Return the responses that are looked for, largest value 1; shape (j, lags).

    One lag alone, a few bins, or a memory that fades from the start or later.
    """
    return np.stack([*_single(lags), *_fading(lags, _BEGINS_BINS, _MEMORIES_BINS)])


def _explanations(lags: int) -> Floats:
    """Return more of them, any of which may explain what the others' scores are."""
    every = tuple(range(_LAST_BEGIN_BINS + 1))
    return np.stack([*_single(lags), *_fading(lags, every, _ALL_MEMORIES_BINS)])


def _single(lags: int) -> list[Floats]:
    lag = np.arange(lags)
    found = [(lag == single).astype(np.float64) for single in range(min(_SINGLE_LAGS, lags))]
    return [*found, (lag < _BOX_BINS).astype(np.float64)]


def _fading(lags: int, begins: tuple[int, ...], memories: tuple[float, ...]) -> list[Floats]:
    lag = np.arange(lags)
    return [
        np.where(lag >= begin, np.exp(-(lag - begin).clip(min=0) / memory), 0.0)
        for begin in begins
        for memory in memories
        if begin < lags - 1
    ]


def searched(draw: Draw, clean: Cleaned, looked: Floats) -> Tested:
    """Test whether the draw has anything to do with the outcome."""
    rows = draw.rows(clean) @ looked.T
    sd = np.sqrt(draw.variance(rows))
    scaled = rows / np.where(sd > 0, sd, np.inf)
    observed = np.abs(draw.observed(scaled))
    return Tested(float(observed.max()), np.abs(draw.redrawn(scaled)).max(axis=1))


def measured(draw: Draw, values: Floats, basis: Floats, looked: Floats, level: float) -> Measured | None:
    """Return the response, with what the test, turned round, does not exclude; None where it has no scale.

    The response is taken out, the rest cleaned and scored anew: a response of another course leaves a rest
    with another score, which is compared with the redraws of that rest. More lags are fitted than are told:
    a response that is not over would lower the later ones, to which its end is the level they start from.
    """
    lags, fitted = draw.strata.lags, draw.through(draw.strata.places + draw.strata.lags - 1)
    course, tail = np.zeros(fitted.strata.lags), np.zeros(0)
    clean = cleaned(values, basis, robust=False)
    for _ in range(_ROUNDS):
        if clean is None:
            return None
        course = course + _solved(fitted.answer(clean), fitted.observed(fitted.rows(clean)))
        tail = _tail(clean, course)
        clean = cleaned(values - draw.response(values.size, np.append(course, tail)), basis)
    if clean is None:
        return None
    half_width = _band(fitted, clean, level, lags)
    course, tail = course[:lags], np.append(course[lags:], tail)
    grown, rows = draw.answer(clean), draw.rows(clean) @ looked.T
    sd = np.sqrt(draw.variance(rows))
    limit = _quantile(np.abs(draw.redrawn(rows / np.where(sd > 0, sd, np.inf))).max(axis=1), level)
    sd = draw.inflation * sd
    seen = draw.observed(rows) + looked @ grown @ course
    answers = looked @ grown @ looked.T  # of each shape's score, to each shape
    own = np.diag(answers)
    known = own > _RIDGE * own.max()  # else its lags were never measured
    if not known.any():
        return None
    sizes = np.where(known, seen / np.where(known, own, 1.0), 0.0)
    reach = np.where(known, sd / np.where(known, own, 1.0), np.inf)
    best = int((np.abs(sizes) / reach).argmax())
    size, lag = float(sizes[best]), int(looked[best].argmax())
    explanations = _explanations(course.size)
    interval = _interval(seen, looked @ grown @ explanations.T, limit * sd)
    if interval is None:
        lag = int(np.abs(course).argmax())
        size = float(course[lag])
        interval = size - float(half_width[lag]), size + float(half_width[lag])
    farthest = float((np.abs(sizes) + limit * reach).max())
    detectable = float(((limit + _POWER_SD) * reach).max())
    return Measured(course, tail, half_width, size, lag, interval, farthest, detectable, clean.sd)


def _tail(clean: Cleaned, course: Floats) -> Floats:
    """Return how a response goes on, over the strata that follow, if the outcome forgets it as all else."""
    order = clean.past.size
    whole = np.append(course, np.zeros(_TAIL_BINS))
    for at in range(course.size, whole.size):
        whole[at] = whole[at - 1 :: -1][:order] @ clean.past[: min(order, at)]
    return whole[course.size :]


def _solved(matrix: Floats, right: Floats) -> Floats:
    ridge = _RIDGE * float(np.abs(np.diag(matrix)).max()) + _TINY
    return np.asarray(np.linalg.solve(matrix + ridge * np.eye(matrix.shape[0]), right))


def _band(draw: Draw, clean: Cleaned, level: float, lags: int) -> Floats:
    """Return the half width of a band that all lags keep to in this share of the redraws: of the first lags.

    Each redraw of the rest is solved for a response as the real one was.
    """
    rows = draw.rows(clean)
    answers = draw.redrawn_answers(clean, _BAND_REDRAWS)
    right = draw.redrawn(rows)[: len(answers), :, None]
    ridge = _RIDGE * np.abs(answers).max(axis=(1, 2))[:, None, None] * np.eye(rows.shape[1]) + _TINY
    drawn = np.linalg.solve(answers + ridge, right)[..., 0]
    sd = np.sqrt((drawn**2).mean(axis=0))
    limit = _quantile(np.abs(drawn / np.where(sd > 0, sd, np.inf)).max(axis=1), level)
    return np.asarray(_BAND_WIDER * draw.inflation * limit * sd)[:lags]


def _quantile(largest: Floats, level: float) -> float:
    """Return the value with a p-value above 1 - level, the largest there is among the redraws."""
    rank = min(int(np.ceil(level * (largest.size + 1))), largest.size) - 1
    return float(np.partition(largest, rank)[rank])


def _interval(seen: Floats, answers: Floats, most: Floats) -> Interval | None:
    """Return from which to which size some response explains all scores; None where none does.

    A response of a size is excluded where it leaves more of any score than the redraws of the rest reach.

    Parameters
    ----------
    seen, most
        Shape (j,): the scores, and how far from 0 each may be by chance.
    answers
        Shape (j, k): what a size of 1 of each possible response adds to each score.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(seen - most)[:, None] / answers, (seen + most)[:, None] / answers])
    unmoved = answers == 0.0
    low = np.where(unmoved, -np.inf, ends.min(axis=0)).max(axis=0)
    high = np.where(unmoved, np.inf, ends.max(axis=0)).min(axis=0)
    fits = low <= high
    if not fits.any():
        return None
    return float(low[fits].min()), float(high[fits].max())
