"""When the rows of a monitor were: clocks of whole seconds, and files that have no clock at all."""

from pathlib import Path

from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.step_clock import is_positive, since
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

CLOCK_HINTS = frozenset({"started_at", "sample_time_s"})
_SECOND_NS = 10**9


def sample_period_s(hints: Hints) -> float | None:
    """Return the period of samples as a person says, or refuse what is none."""
    if hints.sample_time_s is not None and not is_positive(hints.sample_time_s):
        raise ImportFormatError(f"--sample-time {hints.sample_time_s} is no number of seconds above 0")
    return hints.sample_time_s


def _require_start(path: Path, hints: Hints, period: str) -> tuple[Moment, float]:
    """Return when a log without a clock began and its period, as a person says, or ask for both."""
    period_s = sample_period_s(hints)
    if hints.started_at is None or period_s is None:
        raise ImportFormatError(
            f"{path}: its rows have no times, so it is no time series; say when it began, and how far its "
            f"rows are apart ({period}): --started-at 2026-11-24T10:00:00Z --sample-time 1"
        )
    began = read_time(hints.started_at)
    if began is None:
        raise ImportFormatError(
            f"--started-at {hints.started_at!r} is no time; give one such as 2026-11-24T10:00:00Z"
        )
    return began, period_s


class RowTimes:
    """The time of each row in turn, by its own stamp or, in a file without any, by what a person says.

    A stamp of whole seconds says in which second a row was. Where its distance to the row before is known
    (the file or ``--sample-time`` says it), the row is put at that distance, as far as its second allows.
    `period` is what the program that wrote the file calls its period.
    """

    def __init__(self, recording: Recording, hints: Hints, period: str) -> None:
        self._recording, self._hints, self._period = recording, hints, period
        self._period_s = sample_period_s(hints)
        self._last: Moment | None = None
        self._stamped: bool | None = None
        self._rows = 0
        self._crowded = 0  # rows in the second of the one before, whose distance is not known

    def at(self, stamp: Moment | None, elapsed_s: float | None = None) -> Moment | None:
        """Return when the next row was; None for one without a stamp in a file that has them."""
        if self._stamped is None:
            self._stamped = stamp is not None
        self._rows += 1
        if not self._stamped:
            self._last = self._estimated()
        elif stamp is not None:
            self._last = self._in_its_second(stamp, self._period_s or elapsed_s)
        return self._last if stamp is not None or not self._stamped else None

    def _estimated(self) -> Moment:
        began, period_s = _require_start(self._recording.path, self._hints, self._period)
        self._recording.estimated = (
            f"estimated: --started-at {self._hints.started_at} plus {period_s:.6g} s a row (--sample-time)"
        )
        self._recording.clock = "--started-at"
        return since(began, (self._rows - 1) * period_s)

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
                f"rows are in the second of the row before; say how far they are apart ({self._period}): "
                "--sample-time 0.1"
            )
        if self._stamped and self._hints.started_at is not None:
            raise ImportFormatError(
                f"--started-at is for a log without times, but {self._recording.path.name} has some"
            )
