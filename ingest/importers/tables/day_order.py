"""Dates whose day and month stand as the computer's settings had them: told by the file, or by a person.

``11/24/2026`` can be read in one way alone, and so can then all dates beside it. Where no number of a file is
above 12, only a person can say when it began; nothing is guessed.
"""

import re
import shlex
from datetime import date
from pathlib import Path

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.use import require_own_times
from thermograd.ingest.importers.steps.step_clock import started
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import iso_utc
from thermograd.store.errors import ImportFormatError

_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})\2(\d{1,2})", re.ASCII)
_NEAR_DAYS = 2  # a local date and that of UTC; the two readings of a date are four weeks apart
_CONTRADICTED = "a Date whose order of day and month other rows contradict"
_UNTOLD = "a Date that does not say which number is the month"
_UNREADABLE = "torn row: Date is not d.m.yyyy"


class DayOrder:
    """The order of day and month in the dates of a file: `note` each of them, then `settle`, then read them.

    Where dots are between the numbers, the day is the first.
    """

    def __init__(self) -> None:
        self._first: str | None = None  # date that can be read in two ways
        self._can_be_told = False  # by dates that can be read in one way, whatever the order
        self._day_first: set[bool] = set()

    def note(self, text: str) -> None:
        """Learn from a date."""
        match = _DATE.fullmatch(text)
        if match is None or match[2] == ".":
            self._can_be_told |= match is not None
            return
        first, second = int(match[1]), int(match[3])
        if max(first, second) > 12:
            self._day_first.add(first > 12)
        elif first != second and self._first is None:
            self._first = text

    def settle(self, path: Path, what: str, hints: Hints) -> None:
        """Ask a person, where nothing in the file tells; refuse an answer that is not asked for."""
        if self._first is None or self._day_first or self._can_be_told:
            require_own_times(path, hints)
            return
        if hints.started_at is None:
            one, other = (_iso(self._first, day_first) for day_first in (True, False))
            raise ImportFormatError(
                f"{path}: {self._first} may be {one} or {other}, and no date of {what} tells which; say when "
                f"it began, e.g. thermograd import {shlex.quote(str(path))} --started-at {one}T10:00:00"
            )
        began = date.fromisoformat(iso_utc(started(path, what, hints).ns)[:10])
        for day_first in (True, False):
            read = date.fromisoformat(_iso(self._first, day_first))
            if abs((read - began).days) <= _NEAR_DAYS:
                self._day_first.add(day_first)
        if not self._day_first:
            raise ImportFormatError(
                f"{path}: --started-at {hints.started_at} is near neither {_iso(self._first, True)} nor "
                f"{_iso(self._first, False)}, as which its first date {self._first} can be read"
            )

    def iso(self, text: str) -> str:
        """Return a date with year, month and day, or refuse the row."""
        match = _DATE.fullmatch(text)
        if match is None:
            whole = _YEAR_FIRST.fullmatch(text)
            if whole is None:
                raise LeftOutError(_UNREADABLE, text)
            return f"{whole[1]}-{int(whole[3]):02}-{int(whole[4]):02}"
        if match[2] == "." or match[1] == match[3]:
            return _iso(text, True)
        if len(self._day_first) != 1:
            raise LeftOutError(_CONTRADICTED if self._day_first else _UNTOLD, text)
        return _iso(text, True in self._day_first)


def _iso(text: str, day_first: bool) -> str:
    first, second, year = re.split("[./-]", text)
    day, month = (first, second) if day_first else (second, first)
    return f"{year}-{int(month):02}-{int(day):02}"
