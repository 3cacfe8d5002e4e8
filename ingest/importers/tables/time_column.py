"""The time of a table's rows: how its column is read is found by the first time, said, and kept to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.units import TIME, unit_at_end, unit_named
from thermograd.ingest.importers.hints.use import require_no_period, require_own_times
from thermograd.ingest.importers.steps.step_clock import since, started
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import UNITS_NS, Moment, read_time
from thermograd.store.errors import ImportFormatError

NAMES = (  # that programs give it, in lower case, the surest first
    *("timestamp", "_timestamp", "@timestamp", "time", "datetime", "date_time", "when", "ts", "t"),
    *(
        "wall_time",
        "walltime",
        "time_utc",
        "utc",
        "epoch_time",
        "unix_time",
        "created_at",
        "logged_at",
        "date",
    ),
    *("timestamp_ms", "time_ms", "timestamp_ns", "time_ns", "time_s", "elapsed", "elapsed_s"),
)
_EARLIEST_S, _LATEST_S = 631_152_000, 4_102_444_800  # 1990 and 2100: no two units share a number
_DECADES_NS = 20 * 31_556_952 * 10**9
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_WORDS |= {"min": "minutes", "h": "hours"}


@dataclass(frozen=True)
class _Reading:
    """One way to read the values of a column."""

    words: str
    unit: str | None = None  # of numbers
    began: Moment | None = None  # what they are counted from; None for 1970

    def moment(self, value: Any) -> Moment | None:
        """Return the time that a value is by this reading; None for none."""
        if self.unit is None:
            return value if isinstance(value, Moment) else _of_text(value)
        number = as_number(value)
        if number is None:
            return None
        if self.began is None:
            return Moment(round(number * UNITS_NS[self.unit]), naive=False)
        unit = unit_named(TIME, self.unit)
        return since(self.began, unit.ours(float(number))) if unit is not None else None


class TimeColumn:
    """The column with the times, and how it is read."""

    def __init__(self, path: Path, what: str, name: str, hints: Hints) -> None:
        self.name = name
        self._path, self._what, self._hints = path, what, hints
        self._reading: _Reading | None = None
        self._about_ns: int | None = None

    @property
    def read_as(self) -> str:
        """How it is read, in words."""
        return self._reading.words if self._reading is not None else ""

    @property
    def estimated(self) -> str | None:
        """In words where the times are from, where a person said when they began."""
        if self._reading is None or self._reading.began is None:
            return None
        return f"from --started-at {self._hints.started_at} plus {self.name} ({self.read_as})"

    def learn(self, values: list[Any]) -> None:
        """Find by the first values how all are read, as most of them are, and about when they were."""
        kinds = [_kind(value) for value in values]
        if not kinds:
            return
        usual = Counter(kinds).most_common(1)[0][0]
        self._reading = reading = self._found(values[kinds.index(usual)])
        if reading is not None:
            times = sorted(moment.ns for value in values if (moment := reading.moment(value)) is not None)
            self._about_ns = times[len(times) // 2] if times else None

    def _require_likely(self, moment: Moment, value: Any) -> None:
        """Refuse a row whose time is of another unit than the others', or of a clock that was not set."""
        if not _EARLIEST_S <= moment.ns / 10**9 < _LATEST_S:
            raise LeftOutError(f"a time that is not from 1990 to 2100 ({self.read_as})", str(value))
        if self._about_ns is not None and abs(moment.ns - self._about_ns) > _DECADES_NS:
            raise LeftOutError("a time decades from those of the other rows", str(value))

    def moment(self, values: Mapping[str, Any]) -> Moment:
        """Return the time of a row, or refuse the row."""
        value = values.get(self.name)
        if value is None:
            raise LeftOutError(f"torn row: no {self.name}")
        if self._reading is None:
            self._reading = self._found(value)
        moment = self._reading.moment(value) if self._reading is not None else None
        if moment is None:
            told = self._reading.words if self._reading is not None else "ISO 8601 or epoch"
            raise LeftOutError(f"torn row: {self.name} is no time ({told})", str(value))
        self._require_likely(moment, value)
        return moment

    def _found(self, value: Any) -> _Reading | None:
        """Return how a first value is read; None where it is no time."""
        number = as_number(value)
        if number is None:
            reading = _Reading("a date and time")
            if reading.moment(value) is None:
                return None
            require_own_times(self._path, self._hints)
            return reading
        unit = epoch_unit(number)
        said = dict(self._hints.units).get(TIME)
        if unit is not None and (said is None or unit_named(TIME, said) == unit_named(TIME, unit)):
            require_own_times(self._path, self._hints)
            return _Reading(f"epoch {_WORDS[unit]}", unit)
        if unit is not None:
            raise ImportFormatError(
                f"{self._path}: --unit time={said}, but {self.name} has {value}, which is of "
                f"{_WORDS[unit]} since 1970 (in {said} it is no time from 1990 to 2100)"
            )
        return self._since_start(value, said)

    def _since_start(self, value: Any, said: str | None) -> _Reading:
        if self._hints.started_at is None:
            raise ImportFormatError(
                f"{self._path}: {self.name} has {value}, which is no time from 1990 to 2100 in seconds, ms, "
                "us or ns since 1970; where it counts from the start, give --started-at TIME (and, where it "
                "is not in seconds, --unit time=ms)"
            )
        require_no_period(self._path, self.name, self._hints)
        unit = said or unit_at_end(TIME, self.name) or "s"
        words = f"{_WORDS.get(unit, unit)} since the start"
        return _Reading(words, unit, started(self._path, self._what, self._hints))


def _kind(value: Any) -> str | None:
    """Return the unit of a time as `epoch_unit` does, empty for a small number; None for no number."""
    number = as_number(value)
    return None if number is None else epoch_unit(number) or ""


def as_number(value: Any) -> Decimal | None:
    """Return a number, or a text that is one, as its shortest decimal."""
    if isinstance(value, bool | Moment):
        return None
    text = str(value).strip()
    if not text.isascii() or "_" in text:  # which Decimal reads all the same
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**20 else None


def epoch_unit(number: Decimal) -> str | None:
    """Return in which unit a number is a time from 1990 to 2100, counted from 1970: at most in one.

    Examples
    --------
    >>> epoch_unit(Decimal("1761699262.48")), epoch_unit(Decimal("1761699262480")), epoch_unit(Decimal(12))
    ('s', 'ms', None)
    """
    return next(
        (u for u, ns in UNITS_NS.items() if _EARLIEST_S <= number * ns / 10**9 < _LATEST_S),
        None,
    )


def epoch_moment(number: Decimal) -> Moment | None:
    """Return the time that a number is, counted from 1970 in whatever unit; None where it is none."""
    unit = epoch_unit(number)
    return Moment(round(number * UNITS_NS[unit]), naive=False) if unit is not None else None


def is_absolute(value: Any) -> bool:
    """Whether a value is a time that says when, not how long after something."""
    number = as_number(value)
    return epoch_unit(number) is not None if number is not None else _Reading("").moment(value) is not None


def _of_text(value: Any) -> Moment | None:
    """Read a date and time, with - or / between year, month and day."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    year_first = text[:4].isdecimal() and text[4:5] == "/"
    return read_time(text.replace("/", "-", 2) if year_first else text) if as_number(text) is None else None
