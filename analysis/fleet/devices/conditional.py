"""How many of a stratum's events one unit would have by chance: exact, given the exposures.

Of the C events of a stratum a unit with the share q of its exposure has a binomial number, if events are
independent; a beta-binomial number with mean C q where they come in bursts or runs differ. Over strata the
numbers add up: their distributions are convolved. p-values count what was observed in full (no mid-p).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, ndtri, xlog1py, xlogy

Floats = NDArray[np.float64]

_INDEPENDENT = 1e7  # from this concentration on the beta-binomial is the binomial
_MOST_EVENTS = 20_000  # beyond, the sum is as good as normal
_LEAST, _MOST = 1e-3, 1e3  # rate ratios that an interval may reach
_HALVINGS = 40


@dataclass(frozen=True)
class Strata:
    """One unit's strata: events of all, the unit's share of the exposure, and the concentration of chance."""

    events: NDArray[np.int64]
    share: Floats
    concentration: Floats

    def shares(self, ratio: float) -> Floats:
        """Return the shares of the events that the unit has if its rate is `ratio` times its peers'."""
        return ratio * self.share / (ratio * self.share + 1.0 - self.share)

    def expected(self, ratio: float = 1.0) -> float:
        """Return how many events the unit would have."""
        return float(np.sum(self.events * self.shares(ratio)))

    def variance(self, ratio: float = 1.0) -> float:
        """Return the variance of that number."""
        share, count = self.shares(ratio), self.events
        factor = (count + self.concentration) / (1.0 + self.concentration)
        return float(np.sum(count * share * (1.0 - share) * factor))

    def at_least(self, observed: int, ratio: float = 1.0) -> float:
        """Return the probability of `observed` events or more."""
        if self.events.sum() > _MOST_EVENTS:
            deviations = (observed - 0.5 - self.expected(ratio)) / np.sqrt(self.variance(ratio))
            return float(ndtr(-deviations))
        return float(min(1.0, self.distribution(ratio)[observed:].sum()))

    def smallest_p(self) -> float:
        """Return the p-value of the most extreme outcome: all events are the unit's."""
        last = [_log_pmf(int(c), s, a)[-1] for c, s, a in self._rows(self.share)]
        return float(np.exp(sum(last)))

    def distribution(self, ratio: float = 1.0) -> Floats:
        """Return the probability of each number of events."""
        total = np.ones(1)
        for count, share, concentration in self._rows(self.shares(ratio)):
            total = np.convolve(total, np.exp(_log_pmf(int(count), share, concentration)))
        return total

    def _rows(self, shares: Floats) -> list[tuple[int, float, float]]:
        order = np.argsort(self.events)
        return list(zip(self.events[order], shares[order], self.concentration[order], strict=True))

    def ratio_interval(self, observed: int, level: float = 0.95) -> tuple[float, float]:
        """Return the rate ratios that the observed number does not exclude, both ends by exact tails."""
        tail = (1.0 - level) / 2.0
        low = _crossing(lambda ratio: self.at_least(observed, ratio), tail)
        high = _crossing(lambda ratio: 1.0 - self.at_least(observed + 1, ratio), tail, falling=True)
        return (0.0 if observed == 0 else low), (np.inf if observed == self.events.sum() else high)

    def detectable(self, alpha: float, power: float = 0.9) -> float | None:
        """Return the smallest rate ratio that would be found so often; None where none up to 1,000 would."""
        if self.events.sum() > _MOST_EVENTS:
            critical = int(self.expected() - ndtri(alpha) * np.sqrt(self.variance())) + 1
        else:
            tails = np.cumsum(self.distribution()[::-1])[::-1]
            fitting = np.flatnonzero(tails <= alpha)
            if not len(fitting):
                return None
            critical = int(fitting[0])
        found = _crossing(lambda ratio: self.at_least(critical, ratio), power)
        return None if found >= 0.99 * _MOST else found


def _log_pmf(count: int, share: float, concentration: float) -> Floats:
    """Return the log probabilities of 0 to `count` events."""
    k = np.arange(count + 1)
    choose = gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1)
    if concentration > _INDEPENDENT:
        return np.asarray(choose + xlogy(k, share) + xlog1py(count - k, -share))
    a, b = concentration * share, concentration * (1.0 - share)
    beta = gammaln(k + a) + gammaln(count - k + b) - gammaln(count + a + b)
    return np.asarray(choose + beta - gammaln(a) - gammaln(b) + gammaln(a + b))


def _crossing(probability: Callable[[float], float], at: float, falling: bool = False) -> float:
    """Return the ratio at which a probability that grows with it (or falls) crosses a value."""
    low, high = np.log(_LEAST), np.log(_MOST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        is_above = probability(float(np.exp(middle))) >= at
        low, high = (low, middle) if is_above != falling else (middle, high)
        if high - low < 1e-3:
            break
    return float(np.exp((low + high) / 2.0))
