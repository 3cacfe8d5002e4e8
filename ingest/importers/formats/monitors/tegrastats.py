"""Reading what tegrastats prints on a Jetson: a line a period, with the local time in newer versions.

The GPU is GR3D, the processor's numbers are means of the cores that are on. Rails print two numbers, mW: the
power now, and its mean since tegrastats began, which is not taken. Rails differ by board: one
that feeds the GPU alone (or with the SoC) is the GPU's, one that feeds GPU and processor is a device of
its own, by its name. Memory is shared, and is the processor's here. MB are MiB (kB of the kernel over 1024).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.monitors.sample_times import CLOCK_HINTS, RowTimes, mean_of
from thermograd.ingest.importers.hints.units import UNITS
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time

_LINE = re.compile(r"(?P<prefix>.{0,80}?)\bRAM (?P<used>\d+)/\d+MB(?P<rest>.*)", re.DOTALL)
_DATE = re.compile(r"(\d\d)-(\d\d)-(\d{4}) (\d\d:\d\d:\d\d)", re.ASCII)  # month-day-year
_CORES = re.compile(r"\b(?:CPU|cpu) \[([^\]]*)\](?:@(\d+))?")
_CORE = re.compile(r"(\d{1,4})%(?:@(\d{1,6}))?")
_GPU = re.compile(r"\bGR3D(?:_FREQ)? (\d+)%(?:@(?:\[([\d,]+)\]|(\d+)))?")
_MEMORY = re.compile(r"\bEMC(?:_FREQ)? \d+%@(\d+)")
_TEMPERATURE = re.compile(r"\b(\w[\w-]{0,30})@(-?[\d.]+)C\b")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (-?\d+)(?:mW)?/-?\d+(?:mW)?(?![\w/])")
_NO_SENSOR = "-256"  # of a part that is switched off
_MILLIWATTS = UNITS["power_w"]["mW"].ours
_OF_RAILS = {  # the device of a rail
    **dict.fromkeys(("GPU", "VDD_GPU", "VDD_SYS_GPU", "POM_5V_GPU", "VDD_GPU_SOC"), "gpu0"),
    **dict.fromkeys(("CPU", "VDD_CPU", "VDD_SYS_CPU", "POM_5V_CPU", "VDD_CPU_CV"), "cpu"),
    **dict.fromkeys(("VDD_IN", "POM_5V_IN", "VIN"), "board"),
    **dict.fromkeys(("VDD_CPU_GPU_CV", "VDD_CPU_SOC_MSS"), ""),  # by its own name
}
_SHARED = {
    "VDD_GPU_SOC": "power is of the rail VDD_GPU_SOC, which feeds the GPU and the rest of the SoC",
    "VDD_CPU_CV": "power is of the rail VDD_CPU_CV, which feeds the processor and the vision accelerators",
}
_INSTEAD = "with a version that prints the date (JetPack 5 or newer)"
_NO_LINE = "torn row: not a line of tegrastats"


class _Tegrastats:
    """A log of tegrastats while it is read."""

    def __init__(self, paths: tuple[Path, ...], hints: Hints) -> None:
        self.recording = Recording(paths, "sample", TEGRASTATS.name, hints=hints)
        self.recording.clock = "the time that begins each line"
        self._times = RowTimes(self.recording, hints, _INSTEAD, "tegrastats' --interval")
        self._unused: set[str] = set()

    def read(self) -> list[Recording]:
        """Read every line."""
        for number, line in text_lines(self.recording.path):
            if line.strip():
                with self.recording.row(number, line):
                    self._row(number, line)
        self._times.finish()
        self.recording.ignored += of_no_use("rail or sensor", self._unused)
        return [self.recording]

    def _row(self, number: int, line: str) -> None:
        match = _LINE.match(line)
        if match is None:
            raise LeftOutError(_NO_LINE)
        require_whole(line)
        stamp = _stamp(match["prefix"])
        if stamp is None and match["prefix"].strip():
            raise LeftOutError("torn row: what it begins with is no time", match["prefix"])
        moment = self._times.at(stamp)
        if moment is None:
            raise LeftOutError("torn row: a line without a time")
        for device, values in self._samples(match["used"], match["rest"]).items():
            self.recording.add(number, moment, {"device": device} | values)

    def _samples(self, used: str, text: str) -> dict[str, dict[str, Any]]:
        cell = self.recording.cell
        samples: dict[str, dict[str, Any]] = {"gpu0": {}, "cpu": {}}
        samples["cpu"]["memory_used_bytes"] = cell("memory_used_bytes", used, 2**20)
        samples["cpu"] |= self._cores(text)
        if match := _GPU.search(text):
            samples["gpu0"]["utilization_pct"] = cell("utilization_pct", match[1])
            samples["gpu0"]["sm_clock_mhz"] = self._mean(
                "sm_clock_mhz", (match[2] or match[3] or "").split(",")
            )
        if match := _MEMORY.search(text):
            samples["gpu0"]["memory_clock_mhz"] = cell("memory_clock_mhz", match[1])
        for device, column, value in (*self._temperatures(text), *self._powers(text)):
            samples.setdefault(device, {})[column] = value
        self.recording.place_device("gpu0", "0", None)
        return {device: values for device, values in samples.items() if _is_known(values)}

    def _cores(self, text: str) -> dict[str, Any]:
        match = _CORES.search(text)
        cores = _CORE.findall(match[1]) if match else []
        clocks = [clock or (match and match[2]) or "" for _, clock in cores]
        return {
            "utilization_pct": self._mean("utilization_pct", [load for load, _ in cores]),
            "sm_clock_mhz": self._mean("sm_clock_mhz", clocks),
        }

    def _mean(self, column: str, texts: list[str]) -> float | None:
        """Return the mean of some cells; null where one of them is none."""
        return mean_of([self.recording.cell(column, text) for text in texts])

    def _temperatures(self, text: str) -> Iterator[tuple[str, str, Any]]:
        for name, value in _TEMPERATURE.findall(text):
            device = {"gpu": "gpu0", "cpu": "cpu"}.get(name.lower())
            if device is None:
                self._unused.add(f"{name} (temperature)")
            elif value.partition(".")[0] != _NO_SENSOR:
                yield device, "temperature_c", self.recording.cell("temperature_c", value)

    def _powers(self, text: str) -> Iterator[tuple[str, str, Any]]:
        for rail, milliwatts in _RAIL.findall(text):
            if rail not in _OF_RAILS:
                self._unused.add(rail)
                continue
            device = _OF_RAILS[rail] or rail
            if rail in _SHARED:
                self.recording.notes[device] = {"power_w": f"{device}: {_SHARED[rail]}"}
            yield device, "power_w", self.recording.cell("power_w", milliwatts, convert=_MILLIWATTS)


def _is_known(values: dict[str, Any]) -> bool:
    return any(value is not None for value in values.values())


def _stamp(prefix: str) -> Moment | None:
    """Return the time that a line begins with: tegrastats' own, or one that a logger put before it."""
    text = prefix.strip(" \t[]:,|")
    if match := _DATE.fullmatch(text):
        text = f"{match[3]}-{match[1]}-{match[2]} {match[4]}"
    return read_time(text)


def _recognises(head: Head) -> bool:
    lines = head.lines[:-1] if head.is_cut else head.lines
    fitting = sum(_is_line(line) for line in lines[:20])
    return fitting * 2 > len(lines[:20])


def _is_line(line: str) -> bool:
    match = _LINE.match(line)
    return match is not None and any(p.search(match["rest"]) for p in (_CORES, _GPU))


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Tegrastats(paths, hints).read()


TEGRASTATS = Format("a tegrastats log", ("sample",), _recognises, _read, hints=CLOCK_HINTS | {"units"})
