"""One function over many chunks, on any workers: what fails is tried again, split, and in the end named.

A chunk fails in two ways. The function raises: it is tried once more. Or the worker dies with it: in a pool
of processes nobody knows by whose fault, so the chunks that were under way are tried one at a time. A chunk
that fails by itself is split, until the item that does it stands alone; that one is told of as failed, and
all others have their answers. The function must only read, and answer the same every time.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from thermograd.store.text import shortened

Task = Callable[[Sequence[Any]], pa.Table]
Failed = Callable[[Any, str], pa.Table]

_MOST_TRIES = 2  # of a chunk that raises, before it is split; of a single item, before it is told as failed


class WorkerDiedError(Exception):
    """The process that worked on a chunk is gone."""


class Workers(Protocol):
    """What runs a task on chunks."""

    name: str  # for a person
    parallel: int  # chunks that are under way at a time
    shares_fate: bool  # whether the death of one worker fails what the others are doing
    retries: bool  # whether a chunk that is told of as killed has been tried several times already

    def submit(self, number: int, items: Sequence[Any]) -> None:
        """Begin with a chunk, which `finished` will call by its number."""

    def finished(self) -> list[tuple[int, pa.Table | BaseException]]:
        """Wait for at least one chunk, and return those done: their tables, or what was raised."""

    def close(self) -> None:
        """End everything at once, also what is under way."""


@dataclass(slots=True)
class _Part:
    """Some consecutive items of a chunk: all of them, until it is split."""

    chunk: int
    first: int
    items: Sequence[Any]
    tries: int = 0
    suspect: bool = False

    def halves(self) -> "list[_Part]":
        middle = len(self.items) // 2
        pieces = (0, self.items[:middle]), (middle, self.items[middle:])
        return [
            _Part(self.chunk, self.first + offset, items, suspect=self.suspect) for offset, items in pieces
        ]


def mapped(
    chunks: Sequence[Sequence[Any]], workers: Workers, failed: Failed
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number of each chunk with its table, as they are done; empty chunks have none.

    `failed` makes the table of an item that cannot be answered, given the item and why. The workers are
    closed in the end, also where the caller stops half-way.
    """
    with closing(workers):
        yield from _Mapping(chunks, workers, failed).run()


class _Mapping:
    """What waits, what is suspected of killing its worker, what is under way, what is done."""

    def __init__(self, chunks: Sequence[Sequence[Any]], workers: Workers, failed: Failed) -> None:
        self._chunks, self._workers, self._failed = chunks, workers, failed
        self._waiting = deque(_Part(number, 0, items) for number, items in enumerate(chunks) if len(items))
        self._suspects: deque[_Part] = deque()
        self._under_way: dict[int, _Part] = {}
        self._done: dict[int, dict[int, tuple[int, pa.Table]]] = {}
        self._next = 0

    def run(self) -> Iterator[tuple[int, pa.Table]]:
        while self._waiting or self._suspects or self._under_way:
            self._submit()
            for number, answer in self._workers.finished():
                part = self._under_way.pop(number)
                table = self._again(part, answer) if isinstance(answer, BaseException) else answer
                if table is not None:
                    yield from self._collected(part, table)

    def _submit(self) -> None:
        """Keep the workers busy; while there are suspects, with one of those at a time."""
        source, most = (self._suspects, 1) if self._suspects else (self._waiting, self._workers.parallel)
        while source and len(self._under_way) < most:
            part = source.popleft()
            self._under_way[self._next] = part
            self._workers.submit(self._next, part.items)
            self._next += 1

    def _again(self, part: _Part, error: BaseException) -> pa.Table | None:
        """Put a part that failed back, whole or in halves; return the table of an item that is given up."""
        died = isinstance(error, WorkerDiedError)
        if died and self._workers.shares_fate and not part.suspect:
            part.suspect = True
            self._suspects.append(part)
            return None
        part.tries += 1
        again = self._suspects if part.suspect else self._waiting
        # What dies by itself is split at once; what raises may have met a fault that has passed.
        may_pass = not died or (len(part.items) == 1 and not self._workers.retries)
        if part.tries < _MOST_TRIES and may_pass:
            again.append(part)
        elif len(part.items) > 1:
            again.extend(part.halves())
        else:
            return self._failed(part.items[0], _why(error))
        return None

    def _collected(self, part: _Part, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        """Keep a part's table; yield that of its chunk once all parts are there."""
        parts = self._done.setdefault(part.chunk, {})
        parts[part.first] = len(part.items), table
        if sum(count for count, _ in parts.values()) == len(self._chunks[part.chunk]):
            del self._done[part.chunk]
            tables = [parts[first][1] for first in sorted(parts)]
            yield part.chunk, pa.concat_tables(tables, promote_options="default")


def _why(error: BaseException) -> str:
    if isinstance(error, WorkerDiedError):
        return f"the process that worked on it died, each time: {shortened(str(error))}"
    return f"{type(error).__name__}: {shortened(str(error))}"
