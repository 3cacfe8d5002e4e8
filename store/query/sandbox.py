"""SQL answered in a child process, which can neither write nor take the machine, and ends when it should.

Every view is registered Arrow data and DuckDB's own access to files is off (see `store.query`). That is
a courtesy, not a wall: DuckDB's `memory_limit` does not bound one string function, it heeds no interrupt
while it plans and inside one call of a function, and what an answer becomes as text is not its work at all.
The wall is the operating system: memory, processor time and file size of the child are limited. It plans,
computes and writes out the answer; the parent holds one part of it at a time, counts, and kills the child
when its time is up. What this does not cover: a flaw in DuckDB itself, and the network, which the child
could reach if DuckDB had a way.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from thermograd.store.errors import DamagedError, QueryError, TooLargeError, os_errors_as
from thermograd.store.log.reading.damage import was_told
from thermograd.store.places.known import fetched
from thermograd.store.query.data.needed import needed_parts
from thermograd.store.query.interrupt import INTERRUPTED, acting_after, too_late
from thermograd.store.query.parts import NOTE, PART, WHOLE, read_part

_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others take a gigabyte of it beforehand
    "OPENBLAS_NUM_THREADS": "1",
}
_MOST_THREADS = 8
_LIMITED = {"OMP_NUM_THREADS": str(min(os.cpu_count() or 1, _MOST_THREADS))}  # of Arrow's: stacks are memory

_KINDS: tuple[type[QueryError], ...] = (DamagedError, TooLargeError)


@dataclass(frozen=True)
class Limits:
    """What a query may take; None: as much as there is.

    Attributes
    ----------
    timeout_s
        From the first part asked for until the last is taken, the start of the child included.
    memory_gb
        Of the child process; the parent has one part of the answer.
    answer_bytes
        Of the answer in its format.
    rows, values
        Of the answer; those inside lists and structs count, a long one as one per eight bytes.
    strict
        Refuse to answer where the platform cannot limit a process.
    """

    timeout_s: float | None = None
    memory_gb: float | None = None
    answer_bytes: int | None = None
    rows: int | None = None
    values: int | None = None
    strict: bool = False


class Stop:
    """Ends an answer from another thread; one that begins later ends at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._is_set = False

    def set(self) -> None:
        """End the answer: who takes its parts gets a QueryError."""
        with self._lock:
            self._is_set = True
            if self._child is not None:
                self._child.kill()

    @contextlib.contextmanager
    def ending(self, child: "subprocess.Popen[bytes]") -> Iterator[None]:
        """End this child, if at all, until the block ends: what is gone is not killed."""
        with self._lock:
            self._child = child
            if self._is_set:
                child.kill()
        try:
            yield
        finally:
            with self._lock:
                self._child = None


FOR_STRANGERS = Limits(10.0, 1.0, 256 << 20, 10_000_000, 50_000_000, strict=True)


def answer(
    sql: str,
    runs: Path | str,
    output_format: str = "json",
    limits: Limits = FOR_STRANGERS,
    checked: bool = False,
    stop: Stop | None = None,
) -> Generator[bytes]:
    """Yield the answer of one SELECT or EXPLAIN as bytes, in parts of at most a megabyte.

    Parameters
    ----------
    sql
        The query, over the views of `connect`.
    runs
        The directory of runs, or a URL: what the query needs of it is fetched before the time runs.
    output_format
        ``table``, ``csv``, ``json``, ``parquet`` or ``arrow``.
    limits
        What it may take.
    checked
        Look for damaged files first, and leave out what is damaged.
    stop
        Lets another thread end it.

    Raises
    ------
    QueryError
        If DuckDB refuses the query, or it hits a limit: what came until then is not the whole answer.
        TooLargeError where that is the limit of the answer; DamagedError where the same call with `checked`
        gives it.
    """
    runs = fetched(runs, needed_parts(sql))  # the child may write nothing
    request = {"sql": sql, "runs": str(runs), "format": output_format, "checked": checked} | asdict(limits)
    late = threading.Event()
    given = 0
    with (
        _child(request) as child,
        (stop or Stop()).ending(child),
        acting_after(limits.timeout_s, _end, child, late),
    ):
        _send(child, request)
        for part in _parts(child, late, limits.timeout_s):
            given += len(part)
            if limits.answer_bytes is not None and given > limits.answer_bytes:
                yield part[: len(part) - (given - limits.answer_bytes)]
                raise TooLargeError(f"the answer was cut after {limits.answer_bytes:,} bytes; add a LIMIT")
            yield part


@contextlib.contextmanager
def _child(request: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-P", "-m", "thermograd.store.query.child"]
    own = _ENVIRONMENT | (_LIMITED if request["memory_gb"] is not None else {})
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    with os_errors_as(QueryError, "cannot start a process for the query"):
        process = subprocess.Popen(command, env=os.environ | own, **pipes)
    with process as child:
        try:
            yield child
        finally:  # also Ctrl-C, and a reader that wants no more: the child must not go on alone
            child.kill()


def _end(child: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    child.kill()


def _send(child: "subprocess.Popen[bytes]", request: dict[str, Any]) -> None:
    """Hand over the request; the pipe stays open, and its end tells the child that we are gone."""
    stdin = _pipe(child.stdin)
    try:
        stdin.write((json.dumps(request | {"parent": os.getpid()}) + "\n").encode())
        stdin.flush()
    except BrokenPipeError:  # it has ended: what it says, or how, is told by `_parts`
        with contextlib.suppress(BrokenPipeError):
            stdin.close()


def _parts(
    child: "subprocess.Popen[bytes]", late: threading.Event, timeout_s: float | None
) -> Iterator[bytes]:
    while (part := read_part(_pipe(child.stdout))) is not None:
        if late.is_set():
            break
        kind, content = part
        if kind == PART:
            yield content
        elif kind == NOTE:
            text = content.decode(errors="replace")
            if not was_told(text):  # by this process, which could not give the answer itself
                logging.getLogger("thermograd").warning("%s", text)
        elif kind == WHOLE:
            return
        else:
            raise _error(content)
    code = child.wait()
    if late.is_set():
        raise QueryError(too_late(timeout_s or 0.0))
    if code in INTERRUPTED:  # Ctrl-C reaches both of us, and the child may be first
        raise KeyboardInterrupt
    raise QueryError(
        f"the query took its process down (exit code {code}): it is nested too deeply, or needs more memory "
        f"than it may have (--memory)"
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _error(content: bytes) -> QueryError:
    kind, _, text = content.decode(errors="replace").partition(":")
    return next((known for known in _KINDS if known.__name__ == kind), QueryError)(text)
