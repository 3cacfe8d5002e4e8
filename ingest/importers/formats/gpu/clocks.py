"""The clocks of these tools: a line that says the time, times of day without a date, and none at all.

What a log does not say a person does; nothing is guessed.
"""

import math
import re
from collections.abc import Hashable

from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.step_clock import since
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LINE = re.compile(
    rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>{'|'.join(MONTHS)}) +(?P<day>\d{{1,2}}) "
    r"(?P<time>\d\d:\d\d:\d\d) (?P<year>\d{4})",
    re.ASCII,
)
_TIME_OF_DAY = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WITH_OFFSET = re.compile(r"(\d{4}-\d\d-\d\d[T ].*\d) ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)", re.ASCII)
_DAY_NS = 86_400 * 10**9
_NEXT_DAY_NS = 2 * 3600 * 10**9  # a clock that is set back goes back by an hour
_LONGEST_GAP_NS = 12 * 3600 * 10**9
_NEAR_NS = 15 * 60 * 10**9  # no two zones are nearer to each other


class Rounds:
    """Times of readings without any: all devices in turn, and a period later all of them again.

    A round ends where a device comes again. `instead` is how the tool would have logged times.
    """

    def __init__(self, recording: Recording, hints: Hints, instead: str) -> None:
        self._refusal = (
            f"{recording.path}: {recording.format} says neither when it began nor how far apart its "
            "samples are, so it is no time series; give --started-at TIME and --sample-time SECONDS, or "
            f"log {instead}"
        )
        if hints.started_at is None:
            raise ImportFormatError(self._refusal)
        if hints.sample_time_s is not None and not 0 < hints.sample_time_s < math.inf:
            raise ImportFormatError(
                f"--sample-time {hints.sample_time_s} is no number of seconds; give one above 0"
            )
        self._began = _started(hints.started_at)
        self._period_s = hints.sample_time_s
        self._round = 0
        self._seen: set[Hashable] = set()
        recording.clock = "--started-at"
        recording.estimated = f"estimated: --started-at {hints.started_at}"
        if hints.sample_time_s is not None:
            recording.estimated += f" plus {hints.sample_time_s:.6g} s a sample (as --sample-time says)"

    def moment(self, device: Hashable) -> Moment:
        """Return the time of the next reading of a device."""
        if device in self._seen:
            self._turn()
        self._seen.add(device)
        return since(self._began, self._round * (self._period_s or 0.0))

    def _turn(self) -> None:
        """Begin the next round, whose distance from this one somebody has to say."""
        if self._period_s is None:
            raise ImportFormatError(self._refusal)
        self._round += 1
        self._seen.clear()


class Days:
    """Dates of a log that has times of day only: that of its beginning, and the next one after midnight.

    An offset that a person gives with the date is the log's own; without one the times name no zone.
    """

    def __init__(self, recording: Recording, hints: Hints, instead: str) -> None:
        if hints.started_at is None:
            raise ImportFormatError(
                f"{recording.path}: {recording.format} has times of day without a date; give --started-at "
                f"with the date and time of its first row, or log {instead}"
            )
        if hints.sample_time_s is not None:
            raise ImportFormatError(
                f"{recording.path}: --sample-time is for a log without times, but {recording.format} has them"
            )
        self._began = _started(hints.started_at)
        self._only_a_date = _DATE.fullmatch(hints.started_at.strip()) is not None
        with_offset = _WITH_OFFSET.fullmatch(hints.started_at.strip())
        self._local_ns = _started(with_offset[1]).ns if with_offset else self._began.ns
        self._started_at = hints.started_at
        self._path = recording.path
        self._latest_ns: int | None = None  # as the local clock shows it
        recording.clock = "the time of day, with the date of --started-at"

    def moment(self, time_of_day: str) -> Moment | None:
        """Return the time of a row; None where what it has is none."""
        match = _TIME_OF_DAY.fullmatch(time_of_day)
        if match is None or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 60:
            return None
        of_day_ns = (int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])) * 10**9
        of_day_ns += int((match[4] or "0").ljust(9, "0"))
        if self._latest_ns is None:
            local_ns = self._first(of_day_ns, time_of_day)
        else:
            local_ns = self._latest_ns // _DAY_NS * _DAY_NS + of_day_ns
            if self._latest_ns - local_ns > _NEXT_DAY_NS:
                local_ns += _DAY_NS
            if local_ns - self._latest_ns > _LONGEST_GAP_NS:
                raise LeftOutError("a time of day more than 12 h after the row before", time_of_day)
        self._latest_ns = local_ns
        return Moment(local_ns - (self._local_ns - self._began.ns), self._began.naive)

    def _first(self, of_day_ns: int, time_of_day: str) -> int:
        """Return the time of the first row: the one nearest to --started-at that has this time of day."""
        began_ns = self._local_ns
        day_ns = began_ns // _DAY_NS * _DAY_NS
        if self._only_a_date:
            return day_ns + of_day_ns
        nearest = min(
            (day_ns + shift + of_day_ns for shift in (-_DAY_NS, 0, _DAY_NS)),
            key=lambda ns: abs(ns - began_ns),
        )
        if abs(nearest - began_ns) >= _NEAR_NS:
            raise ImportFormatError(
                f"{self._path}: its first row is of {time_of_day}, but --started-at is {self._started_at}; "
                "give the date and time of that row as the log's own clock showed it, and its zone with "
                "--timezone"
            )
        return nearest


def _started(text: str) -> Moment:
    day = _DATE.fullmatch(text.strip()) is not None
    began = read_time(f"{text.strip()}T00:00:00" if day else text)
    if began is None:
        raise ImportFormatError(f"--started-at {text!r} is no time; give one such as 2026-11-24T10:00:00Z")
    return began


def clock_line(text: str) -> Moment | None:
    """Return the time that a line begins with; None for any other line.

    Examples
    --------
    >>> clock_line("Tue Nov  3 10:00:00 2026   driver 550")
    Moment(ns=1793700000000000000, naive=True)
    """
    match = _LINE.match(text)
    if match is None:
        return None
    month = MONTHS.index(match["month"]) + 1
    return read_time(f"{match['year']}-{month:02}-{int(match['day']):02} {match['time']}")
