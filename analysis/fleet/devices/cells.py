"""What is counted: events and exposure of a run, or of one device in a run, and where that ran."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DEVICE, HOST = "device", "host"  # the levels that need no label

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Unit(NamedTuple):
    """A device, a host, or all that share a label: what may be bad."""

    level: str
    name: str


class Place(NamedTuple):
    """A device with its host and the host's labels, any of which may be unknown."""

    device: str | None
    host: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def name_at(self, level: str) -> str | None:
        """Return what this place is called at a level; None where that is not known."""
        if level == DEVICE:
            return self.device
        return self.host if level == HOST else dict(self.labels).get(level)

    def above(self, level: str) -> tuple[Any, ...]:
        """Return what lies above a level: units are compared with those that share it."""
        if level == DEVICE:
            return (self.host, *self.labels)
        return self.labels if level == HOST else ()


@dataclass(frozen=True)
class Cell:
    """Some events in some exposure, of all `places` together: which of them caused an event is not known.

    `stratum` is what the rate may depend on beside the place, such as the model: only cells of one stratum
    are compared. A gradient norm that the ranks share is an event of the whole job: one cell with all its
    places. What a device has for itself is one cell a device, with the run as its stratum.
    """

    run_id: str
    stratum: tuple[Any, ...]
    places: tuple[Place, ...]
    events: int
    exposure: float


@dataclass(frozen=True)
class Level:
    """The units of one level with their cells; by cell its kind (`base`) and what lies above (`above`)."""

    name: str
    members: Mapping[str, Numbers]
    base: Numbers
    above: Numbers


@dataclass(frozen=True)
class Cells:
    """Cells as arrays, grouped by level."""

    cells: Sequence[Cell]
    asked: Sequence[str] | None = None  # levels; all that the places have
    _cache: dict[str, Level] = field(default_factory=dict)

    @cached_property
    def events(self) -> Numbers:
        """Events by cell."""
        return np.array([cell.events for cell in self.cells], dtype=np.int64)

    @cached_property
    def exposure(self) -> Floats:
        """Exposure by cell."""
        return np.array([cell.exposure for cell in self.cells], dtype=np.float64)

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The levels that the places have, from the finest."""
        places = {place for cell in self.cells for place in cell.places}
        labels = sorted({name for place in places for name, _ in place.labels})
        return tuple(level for level in (DEVICE, HOST, *labels) if self.asked is None or level in self.asked)

    def level(self, name: str) -> Level:
        """Return the units of a level."""
        if name not in self._cache:
            self._cache[name] = self._level(name)
        return self._cache[name]

    def _level(self, name: str) -> Level:
        members: dict[str, list[int]] = {}
        bases: dict[Any, int] = {}
        aboves: dict[Any, int] = {}
        base, above = np.empty((2, len(self.cells)), dtype=np.int64)
        for index, cell in enumerate(self.cells):
            names = {place.name_at(name) for place in cell.places} - {None}
            for each in names:
                members.setdefault(str(each), []).append(index)
            base[index] = bases.setdefault((cell.stratum, len(names)), len(bases))
            over = frozenset(place.above(name) for place in cell.places)
            above[index] = aboves.setdefault(over, len(aboves))
        arrays = {each: np.array(where, dtype=np.int64) for each, where in sorted(members.items())}
        return Level(name, arrays, base, above)
