"""Reading what macOS' powermetrics prints, as text: a block a sample, with the time and zone of its end.

Power is the mean since the sample before. The GPU's residency is its utilization; the processor's is the
mean of its cores'.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.gpu.clocks import MONTHS
from thermograd.ingest.importers.formats.monitors.sample_times import RowTimes, mean_of
from thermograd.ingest.importers.hints.units import UNITS
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time

_BLOCK = re.compile(
    r"\*{3} Sampled system activity \((?P<time>[^()]*)\) \((?P<elapsed>[\d.]{1,20})ms elapsed\) \*{3}"
)
_BEGINS = "*** Sampled system activity ("
_TIME = re.compile(
    r"\w{3} (?P<month>\w{3}) +(?P<day>\d{1,2}) (?P<time>\d\d:\d\d:\d\d) (?P<year>\d{4}) (?P<zone>[+-]\d{4})"
)
_LINES = (  # of a sample: which device and column a line is of, and its number
    ("gpu0", "power_w", re.compile(r"GPU Power: ([\d.]+) (m?W)")),
    ("gpu0", "utilization_pct", re.compile(r"GPU (?:HW )?active residency: +([\d.]+)(%)")),
    ("gpu0", "sm_clock_mhz", re.compile(r"GPU (?:HW )?active frequency: +([\d.]+) (MHz)")),
    ("gpu0", "temperature_c", re.compile(r"GPU die temperature: ([\d.]+) (C)")),
    ("cpu", "power_w", re.compile(r"CPU Power: ([\d.]+) (m?W)")),
    ("cpu", "power_w", re.compile(r"Intel energy model derived package power \([^)]*\): ([\d.]+)(W)")),
    ("cpu", "utilization_pct", re.compile(r"CPU \d+ active residency: +([\d.]+)(%)")),
    ("cpu", "temperature_c", re.compile(r"CPU die temperature: ([\d.]+) (C)")),
    ("ane", "power_w", re.compile(r"ANE Power: ([\d.]+) (m?W)")),
    ("soc", "power_w", re.compile(r"(?:Combined Power \([^)]*\)|Package Power): ([\d.]+) (m?W)")),
)
_MODEL = re.compile(r"Machine model: (\S[^\n]{0,80})")
_CORES = ("cpu", "utilization_pct")
_SOC = "soc: processor, GPU and neural engine together"


class _Sample(NamedTuple):
    """The lines of one sample that are of use, by device and column: numbers with their units."""

    line: int
    header: str
    readings: dict[tuple[str, str], list[tuple[str, str]]]


def _samples(recording: Recording) -> Iterator[_Sample]:
    sample: _Sample | None = None
    for number, line in text_lines(recording.path):
        text = line.strip()
        if text.startswith(_BEGINS):
            yield from (sample,) if sample is not None else ()
            sample = _Sample(number, text if line.endswith("\n") else "", {})
        elif sample is None:
            if model := _MODEL.match(text):
                recording.models |= dict.fromkeys(("cpu", "gpu0"), model[1])
        elif line.endswith("\n"):  # else its number may be cut short
            _keep(sample, text)
    yield from (sample,) if sample is not None else ()


def _keep(sample: _Sample, text: str) -> None:
    """Keep a line's number; what stands in two sections is the same."""
    for device, column, pattern in _LINES:
        if match := pattern.match(text):
            readings = sample.readings.setdefault((device, column), [])
            if not readings or (device, column) == _CORES:
                readings.append((match[1], match[2]))
            return


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", POWERMETRICS.name, hints=hints)
    recording.clock = "the time of each sample"
    times = RowTimes(recording, hints, "", "")
    for sample in _samples(recording):
        with recording.row(sample.line, sample.header):
            moment = times.at(*_when(sample.header))
            give(recording, sample.line, moment, _values(recording, sample))
    return [recording]


def _when(header: str) -> tuple[Moment, float]:
    """Return the time of a sample, and how long it took, s."""
    match = _BLOCK.fullmatch(header)
    time = _TIME.fullmatch(match["time"]) if match else None
    if match is None or time is None or time["month"] not in MONTHS:
        raise LeftOutError("torn row: the line that begins a sample has no time", header)
    month = MONTHS.index(time["month"]) + 1
    moment = read_time(f"{time['year']}-{month:02}-{int(time['day']):02} {time['time']}{time['zone']}")
    if moment is None:
        raise LeftOutError("torn row: the time of a sample is none", time[0])
    return moment, _milliseconds(match["elapsed"]) / 1000


def _milliseconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise LeftOutError("torn row: how long a sample took is no number", text) from error


def _values(recording: Recording, sample: _Sample) -> dict[str, dict[str, Any]]:
    devices: dict[str, dict[str, Any]] = {}
    for (device, column), readings in sample.readings.items():
        values = [
            recording.cell(column, number, convert=UNITS[column][unit].ours) for number, unit in readings
        ]
        if any(value is not None for value in values):
            devices.setdefault(device, {})[column] = mean_of(values)
    return with_values(devices)


def with_values(devices: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the devices that have any value."""
    return {
        device: values for device, values in devices.items() if any(v is not None for v in values.values())
    }


def give(recording: Recording, line: int, moment: Moment | None, devices: dict[str, dict[str, Any]]) -> None:
    """Keep what a sample has of each device, or refuse it."""
    if moment is None or not devices:
        raise LeftOutError("a sample without a reading of processor or GPU (--samplers cpu_power,gpu_power)")
    recording.notes |= {"soc": {"power_w": _SOC}} if "soc" in devices else {}
    for device, values in devices.items():
        recording.add(line, moment, {"device": device} | values)


def _recognises(head: Head) -> bool:
    return any(line.strip().startswith(_BEGINS) for line in head.lines[:40])


POWERMETRICS = Format("a powermetrics log", ("sample",), _recognises, _read)
