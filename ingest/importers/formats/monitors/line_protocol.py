"""The grammar of InfluxDB's line protocol: a measurement, tags, fields, a timestamp.

Commas, blanks and equals signs in names have a backslash before them; a string value stands in quotes.
"""

import re
from typing import NamedTuple

_NAME = r"(?:[^\\,= ]|\\.)+"
_MEASUREMENT = re.compile(r"(?:[^\\, ]|\\.)+")
_TAG = re.compile(rf",({_NAME})=((?:[^\\,= ]|\\.)*)")
_FIELD = re.compile(rf'({_NAME})=("(?:[^"\\]|\\.)*"|[^," ][^, ]*)')
_TIME = re.compile(r" +(-?\d{1,20})", re.ASCII)
_ESCAPE = re.compile(r"\\([,= ])")
_ESCAPE_IN_TEXT = re.compile(r'\\(["\\])')
_NUMBER = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)[iu]?", re.ASCII)


class Point(NamedTuple):
    """One line: its numbers by field, and its timestamp in whatever unit the file has."""

    measurement: str
    tags: dict[str, str]
    numbers: dict[str, float]
    time: int | None
    fields: dict[str, str]  # all, as they stand


def point_of(line: str) -> Point | None:
    r"""Return what a line says; None for what is no line of the protocol.

    Examples
    --------
    >>> point_of(r'temp,host=a\ b,sensor=x temp=45.5,on=t,n=3i 1700000000000000000').numbers
    {'temp': 45.5, 'n': 3.0}
    """
    line = line.strip()
    name = _MEASUREMENT.match(line)
    if name is None:
        return None
    tags, place = {}, name.end()
    while match := _TAG.match(line, place):
        tags[_plain(match[1])] = _plain(match[2])
        place = match.end()
    fields, place = _fields(line, place)
    time = _TIME.fullmatch(line, place)
    if not fields or (time is None and place != len(line)):
        return None
    numbers = {key: float(match[1]) for key, text in fields.items() if (match := _NUMBER.fullmatch(text))}
    return Point(_plain(name[0]), tags, numbers, int(time[1]) if time else None, fields)


def text_of(field: str) -> str | None:
    """Return the text that a field is; None for one that is none."""
    if len(field) < 2 or not field.startswith('"'):
        return None
    return _ESCAPE_IN_TEXT.sub(r"\1", field[1:-1])


def _fields(line: str, place: int) -> tuple[dict[str, str], int]:
    """Return the fields that stand behind the blank at a place, and where they end."""
    fields: dict[str, str] = {}
    separator = " "
    while line.startswith(separator, place) and (match := _FIELD.match(line, place + 1)):
        fields[_plain(match[1])] = match[2]
        place, separator = match.end(), ","
    return fields, place


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text
