"""Which units have more events than their peers: exact tests, one family, and the likeliest unit named.

A unit is compared within strata only: with cells of the same model and size, on what lies above it (a GPU
with others of its host, a host with others of its rack). So neither a model that spikes more nor a rack that
runs hotter accuses a GPU. What cannot be compared, such as GPUs that always ran together, is not tested.

Of the units below the family's level the one with the smallest p-value at the finest level is named (a bad
GPU makes its host look bad, too; a bad host makes none of its GPUs look worse than the others). What it
explains is taken out (its cells are a stratum of their own), and the rest is judged again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr
from thermograd.analysis.arrays import Floats
from thermograd.analysis.fleet.devices.cells import Cells, Level, Numbers, Unit
from thermograd.analysis.fleet.devices.conditional import Strata
from thermograd.analysis.fleet.devices.dispersion import Compared, unit_spread

ALPHA = 0.05  # of all accusations of a fleet together
_CAUTION = 2.0  # by this p-values are multiplied beside: how much events vary is estimated, too
GUARD_ALPHA = 0.001  # what must remain without the cell that speaks most against the unit
_FEWEST_PEERS = 5  # degrees of freedom below which nobody can say how much units differ anyway:
_NATURAL_RATIO = 1.5  # they may differ by so much then, as racks do
_MOST_NAMED = 8  # units of one kind


@dataclass(frozen=True)
class Standing:
    """How one unit stands: events, what its peers' rate would give it, and how likely so many are."""

    unit: Unit
    kind: str
    events: int
    expected: float
    p: float
    runs: int
    strata: Strata
    guard_p: float

    @property
    def ratio(self) -> float:
        """The unit's rate over that of its peers: what makes the observed number the expected one."""
        total = float(self.strata.events.sum())
        if self.events >= total:
            return np.inf
        low, high = 1e-3, 1e3
        while high / low > 1.001:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.strata.expected(middle) < self.events else (low, middle)
        return (low * high) ** 0.5 if self.events else 0.0


@dataclass(frozen=True)
class Judged:
    """All units of all kinds, who is named, and what could have been.

    `family` is by how much p-values are multiplied; `detectable` is by kind and level the smallest rate ratio
    for which the middle unit would have been named nine times in ten, None where there is none.
    """

    standings: list[Standing]
    named: list[Standing]
    family: int
    detectable: dict[tuple[str, str], float | None]

    def p_family(self, standing: Standing) -> float:
        """Return the probability of such a unit anywhere in a fleet without a bad one."""
        return min(1.0, standing.p * self.family * _CAUTION)

    def q_values(self) -> dict[tuple[str, Unit], float]:
        """Return at which false-discovery rate each unit is listed (Benjamini-Yekutieli)."""
        if not self.standings:
            return {}
        q = _benjamini_yekutieli([standing.p for standing in self.standings])
        return {(s.kind, s.unit): float(value) for s, value in zip(self.standings, q, strict=True)}


def _benjamini_yekutieli(p: Sequence[float]) -> Floats:
    """Return at which false-discovery rate each is found, however they depend on each other."""
    order, places = np.argsort(p), np.arange(1.0, len(p) + 1)
    adjusted = np.asarray(p)[order] * (len(p) / places) * np.sum(1 / places)
    found = np.empty(len(p))
    found[order] = np.minimum.accumulate(adjusted[::-1])[::-1]
    return np.clip(found, 0.0, 1.0)


def judge(kinds: Mapping[str, Cells], alpha: float = ALPHA) -> Judged:
    """Judge every unit by every kind of event.

    Parameters
    ----------
    kinds
        What was counted, by kind of event.
    alpha
        Probability that anything is named in a fleet in which nothing is bad.
    """
    first = {kind: _standings(kind, cells, []) for kind, cells in kinds.items()}
    standings = [standing for of_kind in first.values() for standing in of_kind]
    family = family_size([s.strata.smallest_p() for s in standings], alpha)
    each = alpha / (family * _CAUTION)
    named = [s for kind, cells in kinds.items() for s in _named(kind, cells, first[kind], each)]
    return Judged(standings, named, family, _detectable(standings, each))


def family_size(smallest: list[float], alpha: float) -> int:
    """Return by how much p-values are multiplied: tests that could never reach the level do not count.

    Tarone's correction: the smallest K such that at most K tests can have p <= alpha / K.

    Examples
    --------
    >>> family_size([1e-9, 1e-9, 0.2, 0.5], 0.05)
    2
    """
    ordered = np.sort(np.asarray(smallest))
    for size in range(1, len(ordered) + 1):
        if np.searchsorted(ordered, alpha / size, side="right") <= size:
            return size
    return max(1, len(ordered))


def _named(kind: str, cells: Cells, standings: list[Standing], alpha: float) -> list[Standing]:
    named: list[Standing] = []
    while len(named) < _MOST_NAMED:
        fitting = [s for s in standings if s.p <= alpha and s.guard_p <= GUARD_ALPHA]
        if not fitting:
            break
        finest = min(cells.levels.index(s.unit.level) for s in fitting)
        of_finest = [s for s in fitting if s.unit.level == cells.levels[finest]]
        named.append(min(of_finest, key=lambda s: (s.p, -s.events / max(s.expected, 1e-12))))
        standings = _standings(kind, cells, [s.unit for s in named])
    return named


def _standings(kind: str, cells: Cells, named: list[Unit]) -> list[Standing]:
    """Return how all units stand, beside what those that are named explain."""
    return [s for level in cells.levels for s in _standings_of_level(kind, cells, level, named)]


def _standings_of_level(kind: str, cells: Cells, name: str, named: list[Unit]) -> list[Standing]:
    level = cells.level(name)
    compared = Compared.of(cells, level, _beside(cells, level.above, named))
    return [
        _standing(Unit(name, unit), kind, cells, compared, strata)
        for unit, where in level.members.items()
        if Unit(name, unit) not in named and len((strata := compared.strata_of(where)).events)
    ]


def _standing(unit: Unit, kind: str, cells: Cells, compared: Compared, strata: Strata) -> Standing:
    level = cells.level(unit.level)
    where = level.members[unit.name]
    observed = compared.observed(where)
    p, guard = strata.at_least(observed), 1.0
    if p <= ALPHA:
        p = max(p, _p_of_spread(strata, observed, compared.without(where), level))
        guard = _guard(compared, where)
    runs = len({cells.cells[index].run_id for index in where})
    return Standing(unit, kind, observed, strata.expected(), p, runs, strata, guard)


def _beside(cells: Cells, stratum: Numbers, named: list[Unit]) -> Numbers:
    """Return strata that are split by what is named."""
    for unit in named:
        is_in = np.zeros(len(stratum), dtype=np.int64)
        is_in[cells.level(unit.level).members[unit.name]] = 1
        stratum = np.unique(2 * stratum + is_in, return_inverse=True)[1]
    return stratum


def _p_of_spread(strata: Strata, observed: int, others: Compared, level: Level) -> float:
    """Return how likely so many are where units differ a little anyway, as much as the others do."""
    rows = []
    for where in level.members.values():
        of = others.strata_of(where)
        rows.append((others.observed(where), of.expected(), of.variance()))
    spread, freedom = unit_spread(rows)
    if freedom < _FEWEST_PEERS:
        return strata.at_least(observed, _NATURAL_RATIO)
    if not spread:
        return 0.0
    expected = strata.expected()
    variance = strata.variance() + spread * expected**2
    return float(stdtr(freedom, (expected - observed) / np.sqrt(variance)))


def _guard(compared: Compared, unit: Numbers) -> float:
    """Return the p-value without the one cell that speaks most against the unit."""
    excess = compared.events[unit] - compared.expected[unit]
    rest = compared.without(unit[[int(np.argmax(excess))]])
    return rest.strata_of(unit).at_least(rest.observed(unit))


def _detectable(standings: list[Standing], alpha: float) -> dict[tuple[str, str], float | None]:
    """Return by kind and level the smallest rate ratio that the middle unit would have been named for."""
    groups: dict[tuple[str, str], list[Standing]] = {}
    for standing in standings:
        groups.setdefault((standing.kind, standing.unit.level), []).append(standing)
    middle = {key: sorted(of, key=lambda s: s.expected)[len(of) // 2] for key, of in groups.items()}
    return {key: standing.strata.detectable(alpha) for key, standing in middle.items()}
