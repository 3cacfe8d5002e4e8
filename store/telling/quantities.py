"""Counts and times as people are shown them: plurals, durations with units, clocks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

_DASH = "–"
_DAY_S = 86_400


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return a count with its noun, in the plural where that is due.

    Examples
    --------
    >>> counted(1, "step"), counted(0, "step"), counted(203_171, "step"), counted(2, "loss", "losses")
    ('1 step', '0 steps', '203,171 steps', '2 losses')
    """
    return f"{count:,} {plural(count, thing, things)}"


def plural(count: int, thing: str, things: str | None = None) -> str:
    """Return a noun in the number that a count asks for.

    Examples
    --------
    >>> plural(1, "day"), plural(-1, "day"), plural(2, "query", "queries")
    ('day', 'day', 'queries')
    """
    return thing if abs(count) == 1 else things or f"{thing}s"


def few_of(names: Sequence[str], most: int = 4) -> str:
    """Return names with commas, of many the first and how many more there are.

    Examples
    --------
    >>> few_of(["a", "b"]), few_of([f"gpu-{n}" for n in range(64)], 2)
    ('a, b', 'gpu-0, gpu-1 and 62 more')
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def duration_text(seconds: float) -> str:
    """Return a duration in at most two units, the larger of which fits it; a dash where it is not known.

    Examples
    --------
    >>> [duration_text(s) for s in (0.25, 9.96, 59.6, 119.9, 81_990.0)]
    ['0.25 s', '10 s', '60 s', '2 min', '22 h 46 min']
    >>> duration_text(150.0), duration_text(7 * 86_400 + 7200.0), duration_text(float("nan"))
    ('2 min 30 s', '7 d 2 h', '–')
    """
    if not isfinite(seconds):
        return _DASH
    if abs(seconds) < 9.95:
        return f"{seconds:.2g} s"
    whole = round(abs(seconds))
    sign = "−" if seconds < 0 else ""
    if whole < 120:
        return f"{sign}{whole} s"
    for limit_s, unit_s, unit, rest_s, rest in _UNITS:
        if limit_s is None or round(whole / rest_s) * rest_s < limit_s:
            return f"{sign}{_two_units(whole, unit_s, unit, rest_s, rest)}"
    raise AssertionError("the last unit has no limit")


_FEW_DAYS = 2  # that are told in hours
# below which duration, unit, rest
_UNITS = (
    (7200, 60, "min", 1, "s"),
    (3 * _DAY_S, 3600, "h", 60, "min"),
    (None, _DAY_S, "d", 3600, "h"),
)


def _two_units(seconds: int, unit_s: int, unit: str, rest_s: int, rest: str) -> str:
    """Return whole seconds in two units, rounded to the smaller one, which is left out where it is 0."""
    count, more = divmod(round(seconds / rest_s), unit_s // rest_s)
    return f"{count} {unit} {more} {rest}" if more else f"{count} {unit}"


def age_text(seconds: float) -> str:
    """Return how long ago something was, in the one unit that tells it; the future counts as now.

    Examples
    --------
    >>> [age_text(s) for s in (-3.0, 4.23, 80.0, 7100.0, 80_000.0, 5 * 86_400.0)]
    ['0.0 s', '4.2 s', '80 s', '118 min', '22 h', '5 days']
    """
    seconds = max(seconds, 0.0)
    for unit, size_s, limit_s in (("s", 1, 119.5), ("min", 60, 119.5 * 60), ("h", 3600, 47.5 * 3600)):
        if seconds < limit_s:
            return f"{seconds / size_s:.{1 if size_s == 1 and seconds < 9.95 else 0}f} {unit}"
    return f"{seconds / _DAY_S:.0f} days"


def clock_text(seconds: float, digits: int = 0) -> str:
    """Return a time since a beginning as hours, minutes and seconds, or a dash where it is not known.

    Examples
    --------
    >>> clock_text(81_960.0), clock_text(12.345, 1), clock_text(-2.0), clock_text(400_000.0)
    ('22:46:00', '00:00:12.3', '−00:00:02', '111:06:40')
    """
    if not isfinite(seconds):
        return _DASH
    scale = 10**digits
    whole, part = divmod(round(abs(seconds) * scale), scale)
    sign = "−" if seconds < 0 and (whole or part) else ""
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{sign}{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{fraction}"


def elapsed_text(seconds: float, digits: int = 0) -> str:
    """Return a time since a beginning as `clock_text` does, from two days on with days.

    Examples
    --------
    >>> elapsed_text(81_960.0), elapsed_text(172_800.0), elapsed_text(400_000.04, 1)
    ('22:46:00', '2 d 00:00:00', '4 d 15:06:40.0')
    """
    days = int(round(seconds, digits) // _DAY_S) if isfinite(seconds) else 0
    if days < _FEW_DAYS:
        return clock_text(seconds, digits)
    return f"{days} d {clock_text(round(seconds, digits) - days * _DAY_S, digits)}"


def size_text(size_bytes: int) -> str:
    """Return how much data something is, in the one unit that tells it.

    Examples
    --------
    >>> [size_text(size) for size in (0, 812, 3_240, 5_100_000, 20_400_000_000)]
    ['0 bytes', '812 bytes', '3.2 kB', '5.1 MB', '20.4 GB']
    """
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:,.1f} {unit}"
    return counted(size_bytes, "byte")


def energy_text(joules: float | None) -> str:
    """Return an energy in a unit that fits it.

    Examples
    --------
    >>> [energy_text(joules) for joules in (0.5, 12_345.0, 1.8e6, 7.2e6, None)]
    ['0.5 J', '12.3 kJ', '0.5 kWh', '2 kWh', '–']
    """
    if joules is None:
        return _DASH
    if joules >= 1e6:
        kwh = joules / 3.6e6
        return f"{kwh:.3g} kWh" if kwh < 999.5 else f"{kwh / 1000:.3g} MWh"
    return f"{joules / 1e3:.3g} kJ" if joules >= 1e3 else f"{joules:.3g} J"


def moment_text(time_ns: int, with_date: bool = True) -> str:
    """Return a time as UTC, to the second below it.

    Examples
    --------
    >>> moment_text(1_795_000_000_000_000_000), moment_text(1_795_000_000_999_999_999, with_date=False)
    ('2026-11-18 11:06:40', '11:06:40')
    """
    form = "%Y-%m-%d %H:%M:%S" if with_date else "%H:%M:%S"
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime(form)
