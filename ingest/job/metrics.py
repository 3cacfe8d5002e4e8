"""What a script logs of its own: numbers and texts by name, as events of the `metric` kind.

Whatever is given, the training goes on: what cannot be recorded is left out, counted, and said once a
reason. A call costs a few microseconds and one more for each value; all its numbers are one write.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from thermograd.store.failures import Guard, is_the_users
from thermograd.store.log.plain import PlainValues, is_scalar, said
from thermograd.store.log.tail_codec import Rows
from thermograd.store.secrets import without_secrets

if TYPE_CHECKING:
    from thermograd.store.log.writer import EventWriter

MOST_NAMES = 10_000  # of one process, and values of one call
LONGEST_NAME = 512  # characters
LONGEST_TEXT = 4096
_MOST_LEVELS = 16
_MOST_ROWS = 500  # of one write: a tail stays small enough to be read, also where all are long texts
_MOST_WAITING = 1024  # calls whose numbers are still on a device
_AT_ONCE = 16  # of one readback
_ALLOWED = 'allowed: a dictionary of numbers, as in run.log({"accuracy": 0.3}), or a name and a number'
_NUMBER = ("step", "rank", "name", "value")
_TEXT = ("step", "rank", "name", "text")
_UNKNOWN = ("step", "rank", "name")

Row = tuple[Any, ...]


class _Target(Protocol):
    """What metrics are written to: a process's `Recorder`."""

    writer: "EventWriter | None"
    left_out: Guard


class Reading(Protocol):
    """Numbers on their way from a device."""

    def ready(self) -> bool:
        """Whether all have come; does not wait."""

    def values(self) -> dict[str, float]:
        """Return them, waiting where they have not come."""


class _Moment(NamedTuple):
    """When something was logged, and at which step; the step may be unknown."""

    time_ns: int
    monotonic_ns: int
    step: int | None


class Metrics:
    """Writes what a script logs. Its names are remembered, so that their number stays bounded.

    `read_back` starts to read at most 16 tensors of a device, and leaves out what is no number there.
    """

    read_back: Callable[[Mapping[str, Any]], Reading] | None = None

    def __init__(self, target: _Target, rank: int) -> None:
        self._target, self._rank = target, rank
        self.names: dict[Any, str] = {}
        self._late: deque[tuple[_Moment, Reading, int]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether numbers are on their way from a device."""
        return bool(self._late)

    def log(self, values: Any, step: int | None) -> None:
        """Write values by name, at a step; of one call all at one time."""
        moment = _Moment(time.time_ns(), time.monotonic_ns(), step)
        call = _Call(self, self._rank, step)
        if type(values) is dict and len(values) <= MOST_NAMES:
            call.take_all(list(values.items()))  # in one step: another thread may change it
        elif (pairs := _pairs(values)) is not None:
            call.take_some("", pairs)
        else:
            self.leave_out(f"run.log was given {said(values)}; {_ALLOWED}", "metrics")
        self._write(moment, call)
        if self._late:
            self.collect()

    def _write(self, moment: _Moment, call: "_Call") -> None:
        for names, rows in call.rows():
            self._append(moment, names, rows)
        tensors = call.on_device
        for start in range(0, len(tensors), _AT_ONCE):
            self._send(moment, dict(tensors[start : start + _AT_ONCE]))

    def _append(self, moment: _Moment, names: tuple[str, ...], rows: list[Row]) -> None:
        if moment.step is None:
            names, rows = names[1:], [row[1:] for row in rows]
        writer = self._target.writer
        if writer is not None:
            for start in range(0, len(rows), _MOST_ROWS):
                part = rows if len(rows) <= _MOST_ROWS else rows[start : start + _MOST_ROWS]
                writer.append_rows("metric", Rows(names, part), moment.time_ns, moment.monotonic_ns)

    def known(self, name: Any) -> str | None:
        """Return a name as it is written; None for one that is not taken, which is counted."""
        known = self.names.get(name) if type(name) is str else None
        if known is not None:
            return known
        text = PlainValues().text(name) if isinstance(name, str) else str(name)
        if not text or len(text) > LONGEST_NAME:
            what = f"a metric's name has {len(text):,} characters; allowed: 1 to {LONGEST_NAME}"
            self.leave_out(what, "metric name")
        elif text not in self.names and len(self.names) >= MOST_NAMES:
            self.leave_out(f"more than {MOST_NAMES:,} names of metrics; first {said(text)}", "metric names")
        else:
            return self.names.setdefault(text, without_secrets(text))
        return None

    def leave_out(self, sentence: str, place: str, times: int = 1) -> None:
        """Count what is not recorded; said once a place."""
        self._target.left_out.count(sentence, place, times)

    # -- numbers on a device ---------------------------------------------------------------------------

    def _send(self, moment: _Moment, tensors: dict[str, Any]) -> None:
        """Let numbers come from their device while the training goes on."""
        if self.read_back is None or len(self._late) >= _MOST_WAITING:
            what = f"more than {_MOST_WAITING:,} calls wait for numbers of a device"
            self.leave_out(what, "metric on a device", len(tensors))
        else:
            self._late.append((moment, self.read_back(tensors), len(tensors)))

    def collect(self, wait: bool = False) -> None:
        """Write the numbers that have come from their device since they were logged; at the end, all."""
        while self._late:
            moment, readback, count = self._late[0]
            lost, read = "a part of a distributed tensor is no number; its full_tensor() is one", {}
            try:
                if not wait and not readback.ready():
                    return
                read = readback.values()
            except Exception as error:  # the device has failed
                if is_the_users(error):
                    raise
                lost = f"numbers of a device: {said(error, str)}"
            self._late.popleft()
            if len(read) < count:
                self.leave_out(lost, "metric on a device", count - len(read))
            rows = [(moment.step, self._rank, name, value) for name, value in read.items()]
            self._append(moment, _NUMBER, rows)


class _Call:
    """The rows of one call, by what they know."""

    def __init__(self, metrics: Metrics, rank: int, step: int | None) -> None:
        self._metrics, self._rank, self._step = metrics, rank, step
        self._numbers: list[Row] = []
        self._texts: list[Row] = []
        self._unknown: list[Row] = []
        self.on_device: list[tuple[str, Any]] = []
        self._count = 0

    def rows(self) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
        """Yield rows and the columns that they know."""
        yield _NUMBER, self._numbers
        if self._texts:
            yield _TEXT, self._texts
        if self._unknown:
            yield _UNKNOWN, self._unknown

    def take_all(self, pairs: list[tuple[Any, Any]]) -> None:
        """Take names and values."""
        known, step, rank = self._metrics.names, self._step, self._rank
        take = self._numbers.append
        for name, value in pairs:
            if type(value) is float and name in known:
                take((step, rank, name, value))
            else:
                self._take_safely(name, value, 0)

    def take_some(self, prefix: str, pairs: Iterable[tuple[Any, Any]], level: int = 0) -> None:
        """Take names and values of a dictionary of any kind, which may have no end."""
        for name, value in pairs:
            if self._count > MOST_NAMES:
                return
            self._take_safely(f"{prefix}{name}" if prefix else name, value, level)

    def _take_safely(self, name: Any, value: Any, level: int) -> None:
        try:
            self._take(name, value, level)
        except Exception as error:  # a value may raise anything, also when it is only looked at
            if is_the_users(error):
                raise
            self._metrics.leave_out(f"a value of a metric: {said(error, str)}", "metric value")

    def _take(self, name: Any, value: Any, level: int) -> None:
        self._count += 1
        pairs = None if type(value) in (float, int, bool, str) else _pairs(value)
        if self._count > MOST_NAMES:
            self._metrics.leave_out(f"more than {MOST_NAMES:,} values in one call", "metrics of one call")
        elif pairs is None:
            if (known := self._metrics.known(name)) is not None:
                self._sort(known, value)
        elif level < _MOST_LEVELS:
            self.take_some(f"{name}/", pairs, level + 1)
        else:
            self._metrics.leave_out(f"dictionaries more than {_MOST_LEVELS} levels deep", "metric levels")

    def _sort(self, name: str, value: Any) -> None:
        start = (self._step, self._rank, name)
        if value is None:
            self._unknown.append(start)
        elif isinstance(value, str):
            self._texts.append((*start, self._text(name, value)))
        elif is_scalar(value) and _is_on_device(value):
            self.on_device.append((name, value))
        elif (number := _number(value)) is not None:
            self._numbers.append((*start, number))
        else:
            kind = type(value).__qualname__
            what = f"metric {said(name)} is of type {kind}: not recorded; allowed: numbers, texts"
            self._metrics.leave_out(what, f"metric of type {kind[:60]}")

    def _text(self, name: str, value: str) -> str:
        plain = PlainValues(longest_text=LONGEST_TEXT)
        text = plain.text(value)
        if plain.left_out:
            what = f"the text of metric {said(name)} is cut after {LONGEST_TEXT:,} characters"
            self._metrics.leave_out(what, "metric text")
        return without_secrets(text)


def _pairs(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """Return names and values of a dictionary of any kind; None for what is none."""
    if isinstance(value, dict):
        return iter(list(islice(dict.items(value), MOST_NAMES + 1)))
    return iter(value.items()) if isinstance(value, Mapping) else None


def _number(value: Any) -> float | None:
    """Return a number of Python, numpy or torch as a float; None for what is none."""
    if is_scalar(value) or (getattr(value, "ndim", None) == 0 and hasattr(value, "item")):
        value = value.item()
        if isinstance(value, complex):
            return None
    return float(value) if isinstance(value, Real | Decimal) else None


def _is_on_device(value: Any) -> bool:
    """Return whether a tensor's number would have to be waited for: on an accelerator, or distributed."""
    kind = getattr(getattr(value, "device", None), "type", "cpu")
    return kind not in ("cpu", "meta") or hasattr(value, "placements")
