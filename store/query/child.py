"""The child process that answers one query for `store.query.sandbox`, limited by the operating system."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from thermograd.store.errors import QueryError
from thermograd.store.query.interrupt import end_with_parent, ended_by_ctrl_c
from thermograd.store.query.parts import ERROR, NOTE, PART, WHOLE, write_parts
from thermograd.store.text import shortened

_SLACK_S = 10  # of processor time: the parent ends us before, unless it is gone
_MOST_THREADS = 8
_DUCKDB_SHARE = 0.5  # of the memory; strings, Arrow and what is made of them take the rest
_DUCKDB_SPARES_GB = 1.0  # of much memory
_GATHERED_BYTES = 64 << 10
_NO_LIMITS = (
    "this platform cannot bound the memory and the processor time of a query, without which none is answered "
    "to strangers or in the browser; thermograd query without --untrusted answers it"
)
_NICER = 5  # than a training beside us, and than those who are to end us in time


def main() -> None:
    """Serve one query: request on stdin, parts on stdout."""
    pipe = _own_stdout()
    try:
        with ended_by_ctrl_c():
            request = json.loads(sys.stdin.buffer.readline())
            end_with_parent(request["parent"])
            logging.getLogger("thermograd").addHandler(_Notes(pipe))
            for part in _answer(request):
                write_parts(pipe, PART, part)
            write_parts(pipe, WHOLE, b"")
            pipe.flush()
    except BrokenPipeError:
        pass
    except BaseException as error:  # noqa: BLE001 - there is nobody else to tell
        with contextlib.suppress(BrokenPipeError):
            write_parts(pipe, ERROR, _said(error))
            pipe.flush()
    os._exit(0)  # DuckDB's threads are not waited for


def _own_stdout() -> IO[bytes]:
    """Keep the pipe to ourselves: what a library prints goes nowhere."""
    pipe = os.fdopen(os.dup(1), "wb", _GATHERED_BYTES)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return pipe


class _Notes(logging.Handler):
    """Sends the log's warnings, of damaged files, to the parent."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        write_parts(self._pipe, NOTE, record.getMessage()[:2000].encode(errors="replace"))


def _answer(request: dict[str, Any]) -> Iterator[bytes]:
    limit(request["timeout_s"], request["memory_gb"], request["strict"])
    from thermograd.store.query.connection import stream

    memory_gb = request["memory_gb"]
    return stream(
        request["sql"],
        Path(request["runs"]),
        request["format"],
        None if memory_gb is None else _duckdb_limit(memory_gb),
        (request["rows"], request["values"]),
        request["checked"],
    )


def _duckdb_limit(memory_gb: float) -> str:
    return f"{round(1024 * max(memory_gb * _DUCKDB_SHARE, memory_gb - _DUCKDB_SPARES_GB))}MiB"


def limit(timeout_s: float | None, memory_gb: float | None, strict: bool) -> None:
    """Limit this process; `strict`: raise QueryError where the platform has no such limits."""
    try:
        import resource
    except ImportError:
        if strict:
            raise QueryError(_NO_LIMITS) from None
        return
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if timeout_s is not None:
        limits[resource.RLIMIT_CPU] = round(timeout_s * min(os.cpu_count() or 1, _MOST_THREADS)) + _SLACK_S
        os.nice(_NICER)
    if memory_gb is not None:  # what is mapped from files, or only reserved, is not counted on Linux
        counted = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
        limits[counted] = round(memory_gb * 2**30)
    for what, most in limits.items():
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError) as error:  # macOS has more address space in use than any such limit
            if strict:
                raise QueryError(f"{_NO_LIMITS} (it says: {error})") from None


def _said(error: BaseException) -> bytes:
    if isinstance(error, MemoryError):
        error = QueryError("the query needs more memory than it may have (--memory)")
    elif not isinstance(error, QueryError):
        error = QueryError(f"the query failed: {type(error).__name__}: {error}")
    return f"{type(error).__name__}:{shortened(str(error), 2000)}".encode(errors="replace")


if __name__ == "__main__":
    main()
