"""State of several devices side by side in arrays, so that one operation moves all of them on."""

from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Arrays whose last axis holds the devices' columns, one device after the other.

    `columns` says of each such attribute how many columns a device has, by the name of an attribute that says
    so, or 1. All else is the same for all devices.
    """

    columns: ClassVar[dict[str, str]]
    devices: int

    def width(self, name: str) -> int:
        """Return how many columns a device has in an attribute."""
        return int(getattr(self, self.columns[name])) if self.columns[name] else 1

    def append(self, other: Self) -> None:
        """Add the devices of another at the end."""
        for name in self.columns:
            setattr(self, name, np.concatenate((getattr(self, name), getattr(other, name)), axis=-1))
        self.devices += other.devices

    def part(self, devices: Sequence[int]) -> Self:
        """Return a copy of what belongs to some devices."""
        part = copy(self)
        part.devices = len(devices)
        for name in self.columns:
            at = places(devices, self.width(name))
            setattr(part, name, np.ascontiguousarray(getattr(self, name)[..., at]))
        return part

    def put(self, devices: Sequence[int], part: Self) -> None:
        """Take back what `part` gave."""
        for name in self.columns:
            getattr(self, name)[..., places(devices, self.width(name))] = getattr(part, name)


def some(mask: NDArray[np.bool_]) -> bool:
    """Return whether any is true: a fifth of the time of numpy's own question."""
    return bool(np.count_nonzero(mask))


def every(mask: NDArray[np.bool_]) -> bool:
    """Return whether all are true."""
    return int(np.count_nonzero(mask)) == mask.size


def places(devices: Sequence[int], width: int) -> NDArray[Any]:
    """Return the columns of some devices that have `width` each."""
    return (np.array(devices)[:, None] * width + np.arange(width)).ravel()
