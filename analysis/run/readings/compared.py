"""Two signals of a run that are compared, and what several pairs have in common, held once."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats
from thermograd.analysis.remembered import digest, fixed
from thermograd.analysis.run.series import Device, RunSeries

_HEAD = 256  # bins: no own past reaches farther


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """What is left of a signal, the first bins apart from the others, which several pairs may share."""

    first: Floats
    others: Floats

    def whole(self) -> Floats:
        """Return it as one array, NaN in bins left out."""
        return np.concatenate([self.first, self.others])


@dataclass(frozen=True, eq=False)
class ComparedSignals:
    """A training signal and a hardware signal on one clock, and what is tested of them."""

    # x, y, device: the signals by name, and the device of y
    x: str
    y: str
    device: Device
    grid: CausalGrid  # both on one clock; the norm as its logarithm
    # rest_x, rest_y: on the grid's bins: what is left without trend, drivers and own past
    rest_x: Residuals
    rest_y: Residuals

    @property
    def residual_x(self) -> Floats:
        """What is left of x without trend, drivers and own past; NaN in bins left out."""
        return self.rest_x.whole()

    @property
    def residual_y(self) -> Floats:
        """As `residual_x`, of y."""
        return self.rest_y.whole()


class Shared:
    """What several pairs have in common, held once: most pairs of a run share a clock and a side."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}
        self._device: Device | None = None
        self._signals: dict[str, Floats] = {}
        self._loads: dict[str, tuple[Floats, Floats]] | None = None

    def signal(self, device: Device, name: str) -> Floats:
        """Return a signal that a device offers; those of the device that was asked last are kept."""
        self._turn_to(device)
        if name not in self._signals:
            values = device.signal(name)
            assert values is not None
            self._signals[name] = fixed(values)
        return self._signals[name]

    def loads(self, data: RunSeries, device: Device) -> dict[str, tuple[Floats, Floats]]:
        """Return `RunSeries.loads`, worked out once for the device that was asked last."""
        self._turn_to(device)
        if self._loads is None:
            self._loads = data.loads(device)
        return self._loads

    def _turn_to(self, device: Device | None) -> None:
        if self._device is device:
            return
        before, self._device, self._signals, self._loads = self._device, device, {}, None
        if before is not None:
            before.let_go()

    def let_go(self) -> None:
        """Forget the signals of the last device."""
        self._turn_to(None)

    def array(self, values: Any) -> Any:
        """Return the first array that was given with this content; it must not be changed."""
        return self._known.setdefault(digest(values), values)

    def rest(self, values: Floats) -> Residuals:
        """Return residuals; of pairs that share a side they differ in the first bins alone."""
        return Residuals(values[:_HEAD].copy(), self.array(values[_HEAD:].copy()))

    def of(self, grid: CausalGrid) -> CausalGrid:
        """Return a grid whose arrays are shared with others."""
        names = "x", "y", "time_ns", "bin", "segment"
        return replace(grid, **{name: self.array(getattr(grid, name)) for name in names})
