"""How much more events vary from cell to cell, and from unit to unit, than independent events would.

Spikes come in bursts, and two runs of one model do not spike alike: taken for independent, their counts
accuse innocent devices. Both causes are estimated, and the larger variance is taken for each cell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.fleet.devices.cells import Cells, Level, Numbers
from thermograd.analysis.fleet.devices.conditional import Strata

Floats = NDArray[np.float64]

_KNOWN_EVENTS = 50  # of a kind of cell, from which on its rate is known well enough to be divided out
_TURNS = 10
_NOTHING = 1e-300
_FEWEST = 8  # degrees of freedom below which nothing can be said of the variation


@dataclass(frozen=True)
class Dispersion:
    """Variance of a cell's events around its mean m: the larger of `burst` m and m + `spread` m^2."""

    burst: float
    spread: float

    def relative(self, expected: Floats) -> Floats:
        """Return the variance beyond independence, relative to the squared mean."""
        return np.maximum(self.spread, (self.burst - 1.0) / np.maximum(expected, 1e-12))


@dataclass(frozen=True)
class Compared:
    """A level's strata with sums by stratum, and what each cell would have if all units were alike."""

    stratum: Numbers
    events: Numbers
    exposure: Floats
    stratum_events: Floats
    stratum_exposure: Floats
    expected: Floats

    @classmethod
    def of(cls, cells: Cells, level: Level, above: Numbers) -> "Compared":
        """Compare cells of one stratum of `above`; those of kinds with few events also of one kind."""
        is_known = np.bincount(level.base, cells.events)[level.base] >= _KNOWN_EVENTS
        exposure = cells.exposure * _rates(cells, level.base, above, is_known)
        pair = np.stack([above, np.where(is_known, -1, level.base)])
        stratum = np.unique(pair, axis=1, return_inverse=True)[1].ravel()
        return cls._summed(stratum, cells.events, np.asarray(exposure))

    @classmethod
    def _summed(cls, stratum: Numbers, events: Numbers, exposure: Floats) -> "Compared":
        size = int(stratum.max(initial=-1)) + 1
        of_stratum = np.bincount(stratum, events, size).astype(np.float64)
        total = np.bincount(stratum, exposure, size)
        expected = exposure * (of_stratum / np.maximum(total, _NOTHING))[stratum]
        return cls(stratum, events, exposure, of_stratum, np.maximum(total, _NOTHING), expected)

    def without(self, unit: Numbers) -> "Compared":
        """Return the comparison of all others, as if a unit's cells had never been."""
        is_left = np.ones(len(self.stratum), dtype=bool)
        is_left[unit] = False
        return self._summed(self.stratum, self.events * is_left, self.exposure * is_left)

    @cached_property
    def _moments(self) -> Floats:
        """By cell, shape (4, cells): degrees of freedom, squares over mean, squares beyond mean, mean^2."""
        left = 1.0 - self.exposure / self.stratum_exposure[self.stratum]  # the mean is the cells' own
        used = (self.expected > 0) & (left > 1e-9)
        mean, left = np.where(used, self.expected, 1.0), np.where(used, left, 1.0)
        squares = (self.events - mean) ** 2 / left
        return np.where(used, [left, left * squares / mean, squares - mean, mean**2], 0.0)

    def dispersion(self, unit: Numbers) -> Dispersion:
        """Estimate the variation from cell to cell within strata, without a unit's own cells.

        With them what is to be found, a unit that has more, would hide itself.
        """
        freedom, over_mean, beyond, squared = self._moments.sum(axis=1) - self._moments[:, unit].sum(axis=1)
        if freedom < _FEWEST:
            return Dispersion(1.0, 0.0)
        return Dispersion(max(1.0, float(over_mean / freedom)), max(0.0, float(beyond / squared)))

    def observed(self, unit: Numbers) -> int:
        """Return a unit's events in the strata in which it can be compared."""
        codes = self.stratum[unit]
        own = np.bincount(codes, self.exposure[unit], len(self.stratum_exposure))
        is_compared = (own < (1.0 - 1e-9) * self.stratum_exposure)[codes]
        return int(self.events[unit][is_compared].sum())

    def strata_of(self, unit: Numbers) -> Strata:
        """Return the strata in which a unit can be compared: those with events, in which others are, too."""
        where, inverse = np.unique(self.stratum[unit], return_inverse=True)
        share = np.bincount(inverse, self.exposure[unit]) / self.stratum_exposure[where]
        used = (self.stratum_events[where] > 0) & (share < 1.0 - 1e-9) & (share > 0)
        where, share = where[used], share[used]
        varies = self._share_variance(unit, where, share, self.dispersion(unit))
        independent = varies <= share * (1.0 - share) * 1e-8
        concentration = np.where(
            independent, 1e9, share * (1.0 - share) / np.where(independent, 1.0, varies) - 1.0
        )
        events = self.stratum_events[where].astype(np.int64)
        return Strata(events, share, np.maximum(concentration, 1e-3))

    def _share_variance(self, unit: Numbers, where: Numbers, share: Floats, dispersion: Dispersion) -> Floats:
        """Return how much a unit's share of the rate varies, since its cells' rates and others' do."""
        relative = dispersion.relative(self.expected)
        squares = relative * (self.exposure / self.stratum_exposure[self.stratum]) ** 2
        size = len(self.stratum_events)
        total = np.bincount(self.stratum, squares, size)[where]
        own = np.bincount(self.stratum[unit], squares[unit], size)[where]
        return np.asarray((1.0 - share) ** 2 * own + share**2 * np.maximum(total - own, 0.0))


def _rates(cells: Cells, base: Numbers, above: Numbers, is_known: NDArray[np.bool_]) -> Floats:
    """Return by cell the rate of its kind beside that of what lies above, fitted in turns; 1 if not known."""
    rate = np.ones(len(base))
    known = cells.exposure * is_known
    events = cells.events * is_known
    for _ in range(_TURNS):
        of_above = np.bincount(above, events) / np.maximum(np.bincount(above, known * rate), _NOTHING)
        of_base = np.bincount(base, events) / np.maximum(np.bincount(base, known * of_above[above]), _NOTHING)
        rate = of_base[base]
    return np.where(is_known, rate, 1.0)


def unit_spread(standing: Iterable[tuple[float, float, float]]) -> tuple[float, int]:
    """Return the variance of units' true relative rates around 1, and its degrees of freedom.

    From (observed, expected, variance) of each. Units that all differ a little, as racks do, make none of
    them bad.
    """
    rows = np.array([row for row in standing if row[1] > 0])
    if len(rows) < 2:
        return 0.0, 0
    observed, expected, variance = rows.T
    excess = np.sum((observed - expected) ** 2 - variance)
    return max(0.0, float(excess / np.sum(expected**2))), len(rows) - 1
