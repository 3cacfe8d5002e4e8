"""Times in recorded files: reading them, and finding the zone of those that name none.

A time without a zone is never taken for granted: its zone comes from a person, or from the one reading
that fits the epoch times of the step log beside it, or the import is refused.
"""

import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from thermograd.store.errors import ImportFormatError

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r" ?(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_OFFSET = re.compile(r"(?:UTC)?(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?", re.ASCII)
_DECIMAL = re.compile(r"\d+(\.\d*)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1)
_LATEST_S = 4_102_444_800  # the year 2100: larger numbers are milliseconds, not seconds
UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_QUARTER_NS = 900 * 10**9
SET_BACK_NS = (1500 * 10**9, 3600 * 10**9)  # how far a clock that is set back seems to go, by the next row
# Every offset that a civil clock shows: half hours, and the three quarter hours of Nepal, Eucla, Chatham.
_CIVIL_OFFSETS_S = (*range(-12 * 3600, 14 * 3600 + 1, 1800), 20_700, 31_500, 45_900)


class Moment(NamedTuple):
    """A time as a file gives it: UTC epoch ns, or, where `naive`, the local clock read as if it were UTC."""

    ns: int
    naive: bool

    @property
    def is_likely(self) -> bool:
        """Whether it is between 1970 and 2100."""
        return 0 < self.ns < _LATEST_S * 10**9


class Span(NamedTuple):
    """First and last time of some rows, ns."""

    first: int
    last: int

    def overlaps(self, other: "Span") -> bool:
        """Whether the spans have a moment in common."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{iso_utc(self.first)} to {iso_utc(self.last)}"


def iso_utc(ns: int) -> str:
    """Return epoch ns as a date and time, in whole seconds."""
    return (_EPOCH + timedelta(seconds=ns // 10**9)).isoformat()


def read_epoch(value: float | str) -> Moment | None:
    """Read epoch seconds; None for what is no time between 1970 and 2100.

    A float counts as the shortest decimal that gives it (what the file shows), rounded half-even to whole ns:
    ``1761699262.4882805`` is 1761699262488280500 ns, without the 119 ns of doubt that the float itself
    carries, and dividing by 10**9 gives back the same float.
    """
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return None
    if not seconds.is_finite() or not 0 < seconds < _LATEST_S:
        return None
    return Moment(round(seconds * 10**9), naive=False)


def read_time(text: str) -> Moment | None:
    """Read an ISO 8601 date and time, with Z, an offset or neither, or epoch seconds; None if it is neither.

    Up to nine digits of a second are kept.
    """
    match = _ISO.fullmatch(text.strip())
    if not match:
        return read_epoch(text.strip()) if _DECIMAL.fullmatch(text.strip()) else None
    try:
        since = datetime.fromisoformat(f"{match['date']}T{match['time']}") - _EPOCH
    except ValueError:
        return None
    ns = (since.days * 86_400 + since.seconds) * 10**9 + int((match["fraction"] or "0").ljust(9, "0"))
    offset = _offset_s(match["offset"]) if match["offset"] else 0
    if offset is None or not 0 < ns - offset * 10**9 < _LATEST_S * 10**9:
        return None
    return Moment(ns - offset * 10**9, naive=match["offset"] is None)


def _offset_s(text: str) -> int | None:
    """Return the seconds east of UTC that Z or an offset says; None for an impossible one."""
    if text in "Zz":
        return 0
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    hours, minutes = int(match["hours"]), int(match["minutes"] or 0)
    seconds = hours * 3600 + minutes * 60
    return None if minutes > 59 or hours > 14 else seconds if match["sign"] == "+" else -seconds


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone that turns local times into UTC."""

    label: str
    info: tzinfo

    @property
    def is_fixed(self) -> bool:
        """Whether it is one offset, all the year."""
        return isinstance(self.info, timezone)

    def offsets_ns(self, local_ns: int) -> tuple[int, int]:
        """Return the offsets from UTC, ns, of a local time (read as if it were UTC).

        The second differs from the first where the clocks of the zone showed this time twice (it is less) or
        never (it is more).
        """
        local = (_EPOCH + timedelta(seconds=local_ns // 10**9)).replace(tzinfo=self.info)
        first, second = (local.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
        return round(first.total_seconds()) * 10**9, round(second.total_seconds()) * 10**9


def offset_label(offset_s: int) -> str:
    """Return an offset as ``--timezone`` takes it: +02:00."""
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    return f"{'+' if offset_s >= 0 else '-'}{hours:02}:{minutes:02}"


def _fixed(offset_s: int) -> Zone:
    if not offset_s:
        return Zone("UTC", UTC)
    return Zone(f"UTC{offset_label(offset_s)}", timezone(timedelta(seconds=offset_s)))


def named_zone(name: str) -> Zone:
    """Return the zone that a person named: ``UTC``, ``Europe/Vienna``, ``+02:00``, or refuse it."""
    offset = _offset_s(name) if _OFFSET.fullmatch(name) else None
    if offset is not None:
        return _fixed(offset)
    try:
        return Zone(name, zoneinfo.ZoneInfo(name))
    except (KeyError, ValueError, OSError) as error:
        raise ImportFormatError(
            f"timezone {name!r} is not known; give a name such as UTC or Europe/Vienna, "
            "or an offset such as +02:00"
        ) from error


def shown_offset(local_ns: int, utc_ns: int) -> int | None:
    """Return the offset (seconds east of UTC) that a row shows which has both local and epoch time.

    To the quarter of an hour; None where the two differ by more than a minute from any, or a day.
    """
    quarters = round((local_ns - utc_ns) / _QUARTER_NS)
    off = abs(local_ns - utc_ns - quarters * _QUARTER_NS)
    return quarters * 900 if off <= 60 * 10**9 and abs(quarters) <= 56 else None


def infer_zone(local: Span, steps: Span, offsets_s: Iterable[int], clock: str) -> tuple[Zone, str]:
    """Find the one zone in which a device log overlaps the steps beside it, and how it was found.

    `local` is the device log's span read as if it were UTC, `steps` the step log's, from its epoch times,
    `clock` its epoch column. `offsets_s` (seconds east of UTC) are those that the step log's own local times
    show: the device log's clock was then one of them or UTC; where there are none, it may be any that a civil
    clock shows. ImportFormatError if none fits, or several do.
    """
    known = {0, *offsets_s}
    candidates = known if set(offsets_s) else set(_CIVIL_OFFSETS_S)
    fitting = [o for o in sorted(candidates) if _shifted(local, o).overlaps(steps)]
    if len(fitting) != 1:
        given = "no zone" if not fitting else "more than one zone" if len(fitting) > 3 else _labels(fitting)
        tried = _labels(sorted(known)) if set(offsets_s) else "every zone's offset"
        raise ImportFormatError(
            f"the device log's times ({local}) name no zone, and {given} (tried: {tried}) "
            f"makes them overlap the steps ({steps} UTC) without doubt; give --timezone"
        )
    offset, span = fitting[0], _shifted(local, fitting[0])
    covers = span.first <= steps.first and steps.last <= span.last
    others = [f"{_fixed(o).label} would be {abs(o - offset) / 3600:g} h off" for o in known - {offset}]
    how = (
        f"telemetry read as {_fixed(offset).label}: its span then {'covers' if covers else 'overlaps'} "
        f"the step log's epoch times ({clock}); {', '.join(others) or 'the step log shows no other zone'}"
    )
    return _fixed(offset), how


def _shifted(span: Span, offset_s: int) -> Span:
    return Span(span.first - offset_s * 10**9, span.last - offset_s * 10**9)


def _labels(offsets_s: list[int]) -> str:
    return " and ".join(_fixed(offset).label for offset in offsets_s)
