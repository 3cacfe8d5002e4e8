"""Reading the screen of ``nvidia-smi -l``: a table of all GPUs under a line with the local time.

A row is a GPU's two lines, or one of a MIG instance. The power is what the driver calls the power draw.
"""

import re
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.gpu.clocks import clock_line
from thermograd.ingest.importers.formats.gpu.readings import on_screen, whole
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.text_files import LeftOutError, text_lines
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

_MIB = 2.0**20
_LONGEST_LINE = 400
_NO_TIME = "a table without a time above it"
_MODES = "On|Off|N/A|WDDM|TCC|MCDM|ERR!"
_FIRST = re.compile(
    rf"\|\s*(?P<index>\d{{1,4}})\s+(?P<model>\S.*?)\s+(?:{_MODES})\s*\|\s*[\da-fA-F:.]+\s+\S+\s*\|\s*(?P<ecc>\S+)\s*\|"
)
_SECOND = re.compile(
    r"\|\s*(?P<fan>\S+)\s+(?P<temperature>\S+)\s+(?P<state>\S+)\s+(?P<power>\S+)\s*/\s*(?P<limit>\S+)\s*"
    r"\|\s*(?:(?P<memory>\S+)\s*/\s*\S+|Not Supported)\s*\|\s*(?P<load>\S+)\s+.*\|"
)
_INSTANCE = re.compile(
    r"\|\s*(?P<index>\d{1,4})\s+(?P<gi>\d{1,4})\s+(?P<ci>\d{1,4})\s+\d+\s*\|\s*(?P<memory>\S+)\s*/\s*\S+\s*\|.*\|"
)
_SHOWN = {  # the heading that it stands below
    "utilization_pct": "GPU-Util",
    "power_w": "Pwr:Usage",
    "power_limit_w": "Pwr:Cap",
    "temperature_c": "Temp",
    "memory_used_bytes": "Memory-Usage",
    "fan_pct": "Fan",
    "ecc_uncorrected": "Volatile Uncorr. ECC",
}
_CELLS = (  # column, group of the second line, the unit that it has to have, factor
    ("utilization_pct", "load", "%", 1.0),
    ("power_w", "power", "W", 1.0),
    ("power_limit_w", "limit", "W", 1.0),
    ("temperature_c", "temperature", "C", 1.0),
    ("memory_used_bytes", "memory", "MiB", _MIB),
    ("fan_pct", "fan", "%", 1.0),
)


class _Screen:
    """A log of screens while it is read."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        recording.clock = "the line above each table"
        recording.sources = dict(_SHOWN)
        self._moment: Moment | None = None
        self._first: tuple[int, str, re.Match[str]] | None = None  # a GPU's first line, its second to come

    def read(self) -> list[Recording]:
        """Read the file: a GPU whose second line does not come is left out."""
        for number, line in text_lines(self.recording.path):
            text = on_screen(line[:_LONGEST_LINE])
            first, self._first = self._first, None
            if first is not None:
                with self.recording.row(first[0], first[1]):
                    self._add(first[0], first[2], _SECOND.fullmatch(text))
            moment = clock_line(text)
            if moment is not None:
                self._moment = moment
            elif (match := _FIRST.fullmatch(text)) is not None:
                self._first = number, line, match
            elif (match := _INSTANCE.fullmatch(text)) is not None:
                with self.recording.row(number, line):
                    self._add_instance(number, match)
        if self._first is not None:
            with self.recording.row(*self._first[:2]):
                raise LeftOutError("torn row: the file ends in mid-row")
        self._require_times()
        return [self.recording]

    def _add(self, number: int, first: re.Match[str], second: re.Match[str] | None) -> None:
        if second is None:
            raise LeftOutError("torn row: the second line of a GPU is no row of values")
        device = f"gpu{int(first['index'])}"
        values: dict[str, Any] = {"device": device}
        for column, group, unit, factor in _CELLS:
            values[column] = self._value(column, second[group], unit, factor)
        values["ecc_uncorrected"] = whole(first["ecc"])
        self.recording.models.setdefault(device, first["model"])
        self._keep(number, values)

    def _add_instance(self, number: int, match: re.Match[str]) -> None:
        device = f"gpu{int(match['index'])}/{int(match['gi'])}"
        if int(match["ci"]):
            device += f"/{int(match['ci'])}"
        self._keep(
            number,
            {
                "device": device,
                "memory_used_bytes": self._value("memory_used_bytes", match["memory"], "MiB", _MIB),
            },
        )

    def _value(self, column: str, text: str | None, unit: str, factor: float) -> float | int | None:
        if text is None:
            return None
        return self.recording.cell(column, text.removesuffix(unit), factor)

    def _keep(self, number: int, values: dict[str, Any]) -> None:
        if self._moment is None:
            raise LeftOutError(_NO_TIME)
        self.recording.require_new((self._moment.ns, *values.values()), self._moment)
        self.recording.add(number, self._moment, values)

    def _require_times(self) -> None:
        if not len(self.recording) and self.recording.account.left_out[_NO_TIME]:
            raise ImportFormatError(
                f"{self.recording.path}: no line with a date and time is above its tables, so this is no "
                "time series; keep the lines of nvidia-smi -l that begin with the day"
            )


def _is_screen(head: Head) -> bool:
    lines = [on_screen(line[:_LONGEST_LINE]) for line in head.lines]
    return any(line.startswith("| NVIDIA-SMI ") for line in lines) and any(map(_FIRST.fullmatch, lines))


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Screen(Recording(paths, "sample", SMI_SCREEN.name, hints=hints)).read()


SMI_SCREEN = Format("the screen of nvidia-smi", ("sample",), _is_screen, _read, hints=frozenset({"units"}))
