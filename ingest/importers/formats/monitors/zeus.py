"""Reading what Zeus writes: the energy of windows (``ZeusMonitor(log_file=...)``), and power over time.

A window's energy is no counter: what is between windows is not measured. It is taken as the mean power of
the window, at its end. The power of older Zeus' ``PowerMonitor`` is the driver's, in W.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.monitors.sample_times import seconds_in
from thermograd.ingest.importers.recording import NO_VALUE
from thermograd.ingest.importers.steps.step_clock import since
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment, read_time

_POWER = re.compile(r"gpu_?(\d{1,3})", re.I)
_ENERGY = re.compile(r"gpu(\d{1,3})_energy")
_MEAN = "power is the mean of each window, by its energy, at its end"
_WINDOW = ["start_time", "window_name", "elapsed_time"]
_OVERLAP_NS = 1000  # by which a float's rounding may let windows overlap


class _Power(Table):
    """The power of each GPU over time."""

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a time and the power of GPUs by index."""
        return len(cells) > 1 and cells[0].lower() == "time" and all(map(_POWER.fullmatch, cells[1:]))

    def begin(self, number: int) -> None:
        """Name the devices."""
        self.recording.clock = self.header[0]
        self._devices = [_placed(self, _POWER, cell) for cell in self.header[1:]]

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return a sample of each GPU."""
        moment = read_time(cells[0])
        if moment is None:
            raise LeftOutError("torn row: time is no time", cells[0])
        powers = [self.recording.cell("power_w", text) for text in cells[1:]]
        return _known(moment, "power_w", zip(self._devices, powers, strict=True))


class _Windows(Table):
    """The energy of each GPU in windows, each written at its end."""

    _latest_ns = 0

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are those of Zeus' windows."""
        return cells[:3] == _WINDOW and len(cells) > 3 and all(map(_ENERGY.fullmatch, cells[3:]))

    def begin(self, number: int) -> None:
        """Name the devices."""
        self.recording.clock = "start_time + elapsed_time"
        self._devices = [_placed(self, _ENERGY, cell) for cell in self.header[3:]]
        self.recording.notes |= {
            device: {"power_w_average": f"{device}: {_MEAN}"} for device in self._devices
        }

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the mean power of each GPU at the window's end; one around others is left out."""
        began, elapsed_s = read_time(cells[0]), seconds_in(cells[2])
        if began is None or not elapsed_s:
            raise LeftOutError("torn row: start_time or elapsed_time is no time", f"{cells[0]}, {cells[2]}")
        if began.ns < self._latest_ns - _OVERLAP_NS:
            raise LeftOutError("a window around others, which have its energy", cells[1])
        moment = since(began, elapsed_s)
        powers = [
            self.recording.cell("power_w_average", text, convert=lambda energy_j: energy_j / elapsed_s)
            for text in cells[3:]
        ]
        samples = _known(moment, "power_w_average", zip(self._devices, powers, strict=True))
        self._latest_ns = moment.ns
        return samples


def _placed(table: Table, pattern: re.Pattern[str], cell: str) -> str:
    """Return the device of a column, and keep its index."""
    match = pattern.fullmatch(cell)
    index = str(int(match[1])) if match else ""
    table.recording.place_device(f"gpu{index}", index, None)
    return f"gpu{index}"


def _known(
    moment: Moment, column: str, values: Iterable[tuple[str, float | None]]
) -> list[tuple[Moment, dict[str, Any]]]:
    samples = [(moment, {"device": device, column: value}) for device, value in values if value is not None]
    if not samples:
        raise LeftOutError(NO_VALUE)
    return samples


ZEUS_POWER = csv_format("Zeus' power over time (CSV)", _Power)
# A unit of another column than those in the file would be of no use.
ZEUS_WINDOWS = replace(csv_format("Zeus' energy windows (CSV)", _Windows), hints=frozenset())
