"""Which of a tool's readings is a column, where several may be: the same one for a device throughout."""

import re
from collections.abc import Mapping
from typing import Any

from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.text_files import is_known

_MOST_DIGITS = 18
_CODES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-Za-z])")
_COMMA = re.compile(r"([-+]?\d{1,40}),(\d+)", re.ASCII)
_MEASURE = re.compile(r"\(?(?P<number>[-+]?\d[\d.eE+-]*) *(?P<unit>[^\W\d_][\w/]*|%)?\)?", re.ASCII)
_UNITS = {
    "": 1.0,
    "%": 1.0,
    "w": 1.0,
    "c": 1.0,
    "mhz": 1.0,
    "j": 1.0,
    "b": 1.0,
    "ghz": 1e3,
    "mw": 1e-3,
    "khz": 1e-3,
}
_BYTES = {"kb": 2.0**10, "mb": 2.0**20, "gb": 2.0**30, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_UNITS |= _BYTES  # of these tools, all of which count memory so

# Names by column, the best one first, each with its factor.
Names = Mapping[str, tuple[tuple[str, float], ...]]
# The degree sign with its letter, as editors of Korea and China read the bytes of a Windows log.
_DEGREES = str.maketrans({"\uce9c": "C", "\uce9f": "F", "\u7648": "C", "\u764b": "F"})


def bare_unit(text: str) -> str:
    """Return a unit in lower case and without its degree sign.

    Examples
    --------
    >>> bare_unit("\u00b0C"), bare_unit("MHz")
    ('c', 'mhz')
    """
    return "".join(c for c in text.translate(_DEGREES).lower() if c.isascii())


def on_screen(line: str) -> str:
    """Return what a terminal shows of a line: without colours and moves, and blanks at its ends."""
    return _CODES.sub("", line).strip()


def whole(text: str) -> int | None:
    """Return a count or a number of a device; None for what is none, or has more digits than any has."""
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def celsius(fahrenheit: float) -> float:
    """Convert degF."""
    return (fahrenheit - 32.0) / 1.8


def with_point(text: str) -> str:
    """Return a number with a point where it has a comma."""
    return _COMMA.sub(r"\1.\2", text)


class Readings:
    """The readings of a log's devices, by column."""

    def __init__(self, recording: Recording, names: Names) -> None:
        self._recording = recording
        self._names = names
        self._chosen: dict[tuple[str, str], tuple[str, float]] = {}

    def values(self, device: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the columns of a device's row; where power is an average alone, that is the power."""
        values: dict[str, Any] = {}
        for column, names in self._names.items():
            chosen = self._chosen.get((device, column)) or self._choose((device, column), names, texts)
            if chosen is not None:
                name, factor = chosen
                values[column] = self._value(column, texts.get(name, ""), factor)
        average = self._chosen.get((device, "power_w_average"))
        if average is not None and average == self._chosen.get((device, "power_w")):
            del values["power_w_average"]  # it stands in for the power
        return values

    def _choose(
        self, key: tuple[str, str], names: tuple[tuple[str, float], ...], texts: Mapping[str, str]
    ) -> tuple[str, float] | None:
        """Choose the first name that has a number; where there is none, one that says why, for once."""
        for name in names:
            if _MEASURE.fullmatch(texts.get(name[0], "").strip()):
                self._chosen[key] = name
                self._recording.sources.setdefault(key[1], name[0])
                return name
        return next((name for name in names if is_known(texts.get(name[0], ""))), None)

    def _value(self, column: str, text: str, factor: float) -> float | int | None:
        """Return a number in our unit; the text's own unit counts more than the column's."""
        match = _MEASURE.fullmatch(text.strip())
        if match is None:
            return self._recording.cell(column, text, factor)
        unit = (match["unit"] or "").lower()
        if unit not in _UNITS:
            return self._recording.cell(column, text, factor)
        return self._recording.cell(column, match["number"], _UNITS[unit] if unit else factor)
