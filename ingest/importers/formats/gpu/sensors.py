"""The sensors of a log that names each in its header, and their readings in a row."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.gpu.readings import celsius
from thermograd.ingest.importers.recording import NO_VALUE, Recording
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment


class Sensor(NamedTuple):
    """Where a sensor stands, and how much it is to be preferred to others of its column (less is more)."""

    position: int
    rank: int
    fahrenheit: bool


Devices = dict[str, dict[str, Sensor]]  # by device and column


def take_best(devices: Devices, device: str, column: str, sensor: Sensor) -> None:
    """Take a sensor for a device's column, unless one is there that is as good."""
    known = devices.setdefault(device, {})
    if column not in known or sensor.rank < known[column].rank:
        known[column] = sensor


def untaken(devices: Devices, header: Sequence[str], first: int) -> set[str]:
    """Return the names of a header, from a position on, of which no sensor is taken."""
    used = {sensor.position for sensors in devices.values() for sensor in sensors.values()}
    return {cell for position, cell in enumerate(header) if position >= first and position not in used}


def samples_of(
    recording: Recording, devices: Devices, moment: Moment, cells: Sequence[str]
) -> list[tuple[Moment, dict[str, Any]]]:
    """Return a sample of each device that has a value in a row."""
    samples = []
    for device, sensors in devices.items():
        values = {
            column: recording.cell(column, cells[s.position], convert=celsius if s.fahrenheit else None)
            for column, s in sensors.items()
        }
        if any(value is not None for value in values.values()):
            samples.append((moment, {"device": device} | values))
    if not samples:
        raise LeftOutError(NO_VALUE)
    return samples
