"""What all monitors need: when their rows were, lengths of time, and means of readings."""

from collections.abc import Collection

from thermograd.ingest.importers.formats.gpu.clocks import Rounds
from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.step_clock import since
from thermograd.ingest.importers.text_files import OddCellError, read_cell
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

CLOCK_HINTS = frozenset({"started_at", "sample_time_s"})
_SECOND_NS = 10**9
_LONGEST_S = 1e9


def seconds_in(text: str) -> float | None:
    """Return a length of time from 0; None for what is none."""
    try:
        seconds = read_cell("duration", text)
    except OddCellError:
        return None
    return seconds if seconds is not None and 0 <= seconds < _LONGEST_S else None


def mean_of(values: Collection[float | None]) -> float | None:
    """Return the mean of some readings; None where one of them is not known, or there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


class RowTimes:
    """The time of each row in turn, by its own stamp or, in a file without any, by what a person says.

    A stamp of whole seconds says in which second a row was. Where its distance to the row before is known
    (the file or ``--sample-time`` says it), the row is put at that distance, as far as its second allows.
    `instead` is how the tool would have logged times, `period` its option for the distance of its rows.
    """

    def __init__(self, recording: Recording, hints: Hints, instead: str, period: str) -> None:
        self._recording, self._hints, self._instead, self._period = recording, hints, instead, period
        self._last: Moment | None = None
        self._rounds: Rounds | None = None  # where there are no stamps
        self._rows = 0
        self._crowded = 0  # rows in the second of the one before, whose distance is not known

    def at(self, stamp: Moment | None, elapsed_s: float | None = None) -> Moment | None:
        """Return when the next row was; None for one without a stamp in a file that has them."""
        if stamp is None and self._last is None:
            self._rounds = self._rounds or Rounds(self._recording, self._hints, self._instead)
            return self._rounds.moment("row")
        if stamp is not None and self._rounds is None:
            self._rows += 1
            self._last = self._in_its_second(stamp, self._hints.sample_time_s or elapsed_s)
            return self._last
        return None

    def _in_its_second(self, stamp: Moment, elapsed_s: float | None) -> Moment:
        last = self._last
        if last is None or stamp.ns % _SECOND_NS or last.naive != stamp.naive:
            return stamp
        if elapsed_s is None:
            self._crowded += stamp.ns == last.ns
            return stamp
        expected = since(last, elapsed_s).ns
        return Moment(min(max(stamp.ns, expected), stamp.ns + _SECOND_NS - 1), stamp.naive)

    def finish(self) -> None:
        """Refuse a file whose rows are closer than its clock tells: how much, only a person knows."""
        if self._crowded * 4 > self._rows:
            raise ImportFormatError(
                f"{self._recording.path}: its clock shows whole seconds, and {self._crowded} of {self._rows} "
                f"rows are in the second of the row before; say how far apart they are ({self._period}) with "
                "--sample-time SECONDS"
            )
        if self._rounds is None and self._hints.started_at is not None:
            raise ImportFormatError(
                f"--started-at is for a log without times, but {self._recording.path.name} has some"
            )
