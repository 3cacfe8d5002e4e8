"""How an outcome answers pulses: the test, the course over lags with its band, the size with its interval."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.pulse.cleaning import Cleaned, cleaned
from thermograd.analysis.experiment.pulse.scores import Draw
from thermograd.analysis.experiment.result import Interval

_SINGLE_LAGS, _BOX_BINS = 4, 3
_BEGINS_BINS, _MEMORIES_BINS = (0, 2, 4), (3.0, 10.0, 30.0)
_ROUNDS = 8  # of taking the response out and cleaning again, at most
_SETTLED_SD = 0.005
_MOST_STRATA = 3  # that a response is followed through
_END_LAGS, _CLEARLY, _LONGEST_KEPT = 8, 3.0, 0.95  # of a response that is not over
_TAIL_BINS = 60
_POWER_SD = 1.2816  # standard normal quantile of a power of .9
_RIDGE, _TINY = 1e-9, float(np.finfo(np.float64).tiny)
_BAND_REDRAWS = 499
_BAND_WIDER = 1.1  # what cleaning anew after each fit adds to its error (benchmarks/experiment_pulses.py)


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
    course
        Shape (lags,): the response.
    half_width
        Shape (lags,): what the simultaneous band of the course reaches to each side. It counts on a response
        that is over within three strata, or fades from there as it did.
    size, lag, interval
        The course, and its band, at the lag where it stands out most from the band.
    farthest
        Of all shapes, the size farthest from 0 that the test does not exclude if the shape is the right one.
    detectable
        The least size that would have been found with a power of .9, whichever the shape.
    sd
        Of the outcome without the response, about its trend.
    """

    course: Floats
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
    Nothing is clipped, as the test does: where pulses are answered unequally, the mean answer is told.
    """
    lags, fitted = draw.strata.lags, _fitted(draw, values, basis)
    if fitted is None:
        return None
    left = _left(draw, values, basis, looked, level)
    if left is None:
        return None
    course, half_width = fitted.course[:lags], _band(fitted.draw, fitted.clean, level, lags)
    lag = int((np.abs(course) / np.maximum(half_width, _TINY)).argmax())
    size, reach = float(course[lag]), float(half_width[lag])
    return Measured(course, half_width, size, lag, (size - reach, size + reach), *left, fitted.clean.sd)


def _left(
    draw: Draw, values: Floats, basis: Floats, looked: Floats, level: float
) -> tuple[float, float] | None:
    """Return of all shapes the size farthest from 0 that is left, and the least that would be found."""
    clean = cleaned(values, basis)
    if clean is None:
        return None
    rows = draw.rows(clean) @ looked.T
    sd = np.sqrt(draw.variance(rows))
    limit = _quantile(np.abs(draw.redrawn(rows / np.where(sd > 0, sd, np.inf))).max(axis=1), level)
    own = np.diag(looked @ draw.answer(clean) @ looked.T)
    known = own > _RIDGE * own.max()  # else its lags were never measured
    if not known.any():
        return None
    sizes = np.where(known, draw.observed(rows) / np.where(known, own, 1.0), 0.0)
    reach = np.where(known, sd / np.where(known, own, 1.0), np.inf)
    return float((np.abs(sizes) + limit * reach).max()), float(((limit + _POWER_SD) * reach).max())


def answered(draw: Draw, values: Floats, basis: Floats) -> Floats:
    """Return what the draw added to the outcome, as far as it can be told; shape (n,)."""
    fitted = _fitted(draw, values, basis) if draw.strata.size else None
    return np.zeros(values.size) if fitted is None else fitted.added(values.size)


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """A draw asked for enough lags, the course that leaves no score, how it goes on, the rest cleaned."""

    draw: Draw
    course: Floats
    tail: Floats
    clean: Cleaned

    def added(self, n: int) -> Floats:
        """Return what it adds to n bins."""
        return self.draw.response(n, np.append(self.course, self.tail))


def _fitted(draw: Draw, values: Floats, basis: Floats) -> _Fitted | None:
    """Return the response through one stratum, or more where it is clearly not over; None: nothing moves."""
    places, lags = draw.strata.places, draw.strata.lags
    for strata in range(_MOST_STRATA):
        longer = draw.through(lags + places - 1 + strata * (lags + places))
        fitted = _fitted_through(longer, values, basis)
        if fitted is None or _fading_tail(longer, fitted.course, fitted.clean) is None:
            break
    return fitted


def _fitted_through(draw: Draw, values: Floats, basis: Floats) -> _Fitted | None:
    course, tail = np.zeros(draw.strata.lags), np.zeros(0)
    clean = cleaned(values, basis, robust=False)
    for _ in range(_ROUNDS):
        if clean is None:
            return None
        more = _solved(draw.answer(clean), draw.observed(draw.rows(clean)))
        course = course + more
        fading = _fading_tail(draw, course, clean)
        tail = _tail(clean, course) if fading is None else fading
        clean = cleaned(values - draw.response(values.size, np.append(course, tail)), basis, robust=False)
        if clean is not None and np.abs(more).max() < _SETTLED_SD * clean.sd:
            break
    return None if clean is None else _Fitted(draw, course, tail, clean)


def _tail(clean: Cleaned, course: Floats) -> Floats:
    """Return how a response goes on, over the strata that follow, if the outcome forgets it as all else."""
    order = clean.past.size
    whole = np.append(course, np.zeros(_TAIL_BINS))
    for at in range(course.size, whole.size):
        whole[at] = whole[at - 1 :: -1][:order] @ clean.past[: min(order, at)]
    return whole[course.size :]


def _fading_tail(draw: Draw, course: Floats, clean: Cleaned) -> Floats | None:
    """Return how a response goes on that is clearly not over at its last lags, as it fades in them."""
    end = course[-_END_LAGS:]
    share = np.where(np.arange(course.size) < course.size - end.size, 0.0, 1.0 / end.size)
    error = np.sqrt(draw.variance(draw.rows(clean) @ _solved(draw.answer(clean).T, share)))
    if not abs(end.mean()) > _CLEARLY * error:
        return None
    kept = float(np.clip(end[1:] @ end[:-1] / (end[:-1] @ end[:-1]), 0.0, _LONGEST_KEPT))
    fading = kept ** np.arange(end.size + _TAIL_BINS)
    known = fading[: end.size]
    return np.asarray(float(end @ known / (known @ known)) * fading[end.size :])


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
