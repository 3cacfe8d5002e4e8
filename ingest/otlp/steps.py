"""One event a step out of columns that come one by one, in one export or in several.

A step waits until the columns are there that the steps before it had, two seconds at most. What waits has
been acknowledged, so it stands in a file beside the log (``otlp/held-*.jsonl``): a receiver that is started
again goes on with it.
"""

import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermograd.ingest.otlp.once import exact
from thermograd.ingest.otlp.readings import StepPart
from thermograd.store.files import write_file
from thermograd.store.log.reading.held import held_lines

_WAIT_S = 2.0
_MOST_WAITING = 10_000
_MOST_KNOWN = 16_384  # of the newest steps, written ones among them
_MEMORY_STEPS = 32
_LONG_FILE_BYTES = 4 << 20

Write = Callable[[int | None, int | None, int, dict[str, Any]], None]
Key = tuple[int | None, int | None, int | None]  # rank, step, and the time where there is no number


@dataclass(slots=True)
class _Step:
    time_ns: int
    values: dict[str, float | int] = field(default_factory=dict)
    told: bool = True
    since_s: float = 0.0
    is_written: bool = False


def _key(part: StepPart) -> Key:
    return part.rank, part.step, part.time_ns if part.step is None else None


class Steps:
    """Merges the parts of steps, each once; `write` takes rank, number, time and columns of a whole step.

    Attributes
    ----------
    repeated
        Readings that were there before, or had not changed since the one before.
    late, second
        Columns of steps that had been written already, and other values for what was there: each is in
        another row of the step.
    """

    def __init__(self, write: Write, path: Path) -> None:
        self._write = write
        self._steps: OrderedDict[Key, _Step] = OrderedDict()
        self._waiting: dict[Key, _Step] = {}
        self._usual: dict[str, int] = {}  # in which of the written steps a column was last
        self._count = self.repeated = self.late = self.second = 0
        self._latest: dict[int | None, dict[str, float | int]] = {}  # what a reading without a number had
        self._file = _HeldFile(path)

    def know(self, rank: int | None, step: int | None, time_ns: int, values: dict[str, Any]) -> None:
        """Learn of a step that is in the log already."""
        key = (rank, step, time_ns if step is None else None)
        known = self._steps.get(key)
        if known is not None and not known.values.keys() & values.keys():
            known.values |= values
        else:
            self._keep(key, _Step(time_ns, dict(values), is_written=True))
        self._remember(rank, values, told=False)

    def take(self, parts: Iterable[StepPart]) -> None:
        """Take what an export holds: what is whole is written, the rest is safe when this returns.

        OSError where it is not: the export has to come again.
        """
        taken: list[StepPart] = []
        try:
            taken += (part for part in parts if self._merge(part))
            self._settle()
            if waiting := [part for part in taken if _key(part) in self._waiting]:
                self._file.add(waiting)
        except BaseException:  # Ctrl-C too: what is not safe is not known either; passed on
            self._take_back(taken)
            raise

    def _take_back(self, parts: Iterable[StepPart]) -> None:
        """Forget parts that are neither in the log nor safe: they come again."""
        for key, column in ((_key(part), part.column) for part in parts):
            step = self._waiting.get(key)
            if step is not None:
                step.values.pop(column, None)
                if not step.values:
                    del self._waiting[key]
                    self._steps.pop(key, None)

    def take_left(self, path: Path) -> None:
        """Go on with what a receiver that was killed had not written yet."""
        left = list(_HeldFile(path).read())
        self.take(left)

    def _merge(self, part: StepPart) -> bool:
        """Add a part to its step; whether it was not there.

        An SDK's gauge with the step's number as an attribute says every step again in every export.
        """
        key = _key(part)
        known = self._steps.get(key)
        if known is not None and part.column in known.values:
            if _same(known.values[part.column], part.value):
                self.repeated += 1
                return False
            self.second += 1
            self._finish(key)
            known = None
        elif known is not None and known.is_written:
            self.late += 1
        if known is None or known.is_written:
            known = self._begin(key, part)
        known.values[part.column] = part.value
        return True

    def _begin(self, key: Key, part: StepPart) -> _Step:
        """Begin a step, or the rest of one that has been written: only what is new of it is written."""
        step = _Step(part.time_ns, told=part.told, since_s=time.monotonic())
        self._keep(key, step)
        self._waiting[key] = step
        return step

    def _keep(self, key: Key, step: _Step) -> None:
        self._steps.pop(key, None)
        self._steps[key] = step
        if len(self._steps) > _MOST_KNOWN:
            oldest, _ = next(iter(self._steps.items()))
            self._finish(oldest)
            del self._steps[oldest]

    def _settle(self) -> None:
        """Write what is whole, after those before it; what waits for too much is written as it is."""
        usual = {name for name, at in self._usual.items() if self._count - at < _MEMORY_STEPS}
        whole = [key for key, step in self._waiting.items() if usual and step.values.keys() >= usual]
        if len(self._waiting) > _MOST_WAITING:
            whole = list(self._waiting)
        if whole:
            self._finish_until(whole[-1], {rank for rank, *_ in whole})

    def _finish_until(self, last: Key, ranks: set[int | None]) -> None:
        """Write the steps of some ranks that wait, in their order, up to one of them."""
        for key in list(self._waiting):
            if key[0] in ranks:
                self._finish(key)
            if key == last:
                break
        if not self._waiting:
            self._file.clear()
        elif self._file.is_long():
            self._file.replace(self._parts_waiting())

    def _parts_waiting(self) -> list[StepPart]:
        return [
            StepPart(rank, number, step.time_ns, column, value, step.told)
            for (rank, number, _), step in self._waiting.items()
            for column, value in step.values.items()
        ]

    def tick(self, at_end: bool = False) -> None:
        """Write what has waited long enough."""
        now_s = time.monotonic()
        due = [key for key, step in self._waiting.items() if at_end or now_s - step.since_s > _WAIT_S]
        if due:
            self._finish_until(due[-1], {rank for rank, *_ in due})

    def _finish(self, key: Key) -> None:
        step = self._waiting.get(key)
        if step is None:
            return
        rank, number, _ = key
        if not step.told and self._is_unchanged(rank, step.values):
            self.repeated += len(step.values)
        else:
            self._write(rank, number, step.time_ns, step.values)
        step.is_written = True
        del self._waiting[key]
        self._remember(rank, step.values, step.told)

    def _is_unchanged(self, rank: int | None, values: dict[str, float | int]) -> bool:
        """Whether a gauge only says again what it said: a sender repeats it until it is set anew."""
        latest = self._latest.get(rank, {})
        return all(_same(latest.get(name), value) for name, value in values.items())

    def _remember(self, rank: int | None, values: dict[str, Any], told: bool) -> None:
        if not told:
            self._latest.setdefault(rank, {}).update(values)
        for name in values:
            self._usual[name] = self._count
        self._count += 1

    def close(self) -> None:
        """Write what waits; leave no file."""
        self.tick(at_end=True)
        self._file.remove()


def _same(one: float | int | None, other: float | int) -> bool:
    return one is not None and exact(one) == exact(other)


class _HeldFile:
    """What waits, as lines of JSON; gone when nothing waits."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, parts: Iterable[StepPart]) -> None:
        """Write parts down; OSError where that cannot be done as a whole."""
        line = json.dumps([_packed(part) for part in parts]) + "\n"
        self._path.parent.mkdir(exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if os.write(handle, line.encode()) != len(line):
                raise OSError("no space left for steps that are not whole yet")
        finally:
            os.close(handle)

    def read(self) -> Iterator[StepPart]:
        """Yield what was written down."""
        for line in held_lines(self._path):
            try:
                parts = [_unpacked(packed) for packed in json.loads(line)]
            except (ValueError, TypeError, IndexError):
                continue  # after a write that a full disk had cut
            yield from parts

    def is_long(self) -> bool:
        """Whether most of it may have been written to the log."""
        return self._path.exists() and self._path.stat().st_size > _LONG_FILE_BYTES

    def replace(self, parts: Iterable[StepPart]) -> None:
        """Have nothing but these."""
        line = json.dumps([_packed(part) for part in parts]) + "\n"
        write_file(self._path, line.encode())

    def clear(self) -> None:
        """Forget what has been written to the log."""
        if self._path.exists():
            os.truncate(self._path, 0)

    def remove(self) -> None:
        """Leave no file."""
        self._path.unlink(missing_ok=True)


def _packed(part: StepPart) -> list[Any]:
    value = part.value.hex() if isinstance(part.value, float) else part.value
    return [part.rank, part.step, part.time_ns, part.column, value, part.told]


def _unpacked(packed: list[Any]) -> StepPart:
    rank, step, time_ns, column, value, told = packed
    number = float.fromhex(value) if isinstance(value, str) else value
    return StepPart(rank, step, int(time_ns), str(column), number, bool(told))
