"""SQL from strangers: answered in a child process that can neither write nor take the machine.

Every view is registered Arrow data and DuckDB's own access to files is off (see `store.query`). That is
a courtesy, not a wall: DuckDB's `memory_limit` does not bound one string function, and not every function
heeds an interrupt. The wall is the operating system: address space, processor time and file size of the
child are limited, and the parent kills it when its time is up. What this does not cover: a flaw in DuckDB
itself, and the network, which the child could reach if DuckDB had a way.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
from thermograd.store.errors import QueryError
from thermograd.store.query.interrupt import end_with_parent, ended_by_ctrl_c, too_late
from thermograd.store.query.result_formats import as_stream

_ADDRESS_SPACE_BYTES = 3 << 30
_MEMORY_LIMIT = "1GB"
_MOST_RESULT_BYTES = 256 << 20
_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # many take the address space
_START_S = 10.0  # starting the child and opening the runs is not the query's time


def query_untrusted(sql: str, runs: Path, timeout_s: float = 10.0) -> pa.Table:
    """Answer one SELECT or EXPLAIN from somebody who is not trusted, in so much time and processor time.

    Raises QueryError as `thermograd.store.query.connection.query` does, and where a limit was hit, the
    result is larger than 256 MB, or the platform has no resource limits.
    """
    request = json.dumps({"sql": sql, "runs": str(runs), "timeout_s": timeout_s, "parent": os.getpid()})
    command = [sys.executable, "-P", "-m", "thermograd.store.query.sandbox"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | _FEW_THREADS,
    ) as child:
        try:
            output, errors = child.communicate(request.encode(), timeout=timeout_s + _START_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise QueryError(too_late(timeout_s)) from None
        except BaseException:  # Ctrl-C in a program of ours: the child must not go on alone
            child.kill()
            raise
    if child.returncode != 0:
        raise QueryError(_reason(errors, child.returncode))
    with pa.ipc.open_stream(output) as reader:
        return reader.read_all()


def _reason(errors: bytes, code: int) -> str:
    """Return what the child said, or what ended it."""
    try:
        return str(json.loads(errors.decode().splitlines()[-1])["error"])
    except (ValueError, IndexError, KeyError, TypeError):
        return f"the query was ended by its limits of memory or processor time (exit code {code})"


def _limit(timeout_s: float) -> None:
    try:
        import resource
    except ImportError:
        raise QueryError("--untrusted needs resource limits, which this platform does not have") from None
    seconds = max(1, round(timeout_s + _START_S))
    for what, most in (
        (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _answer(request: dict[str, Any]) -> bytes:
    end_with_parent(request["parent"])
    from thermograd.store.query.connection import query

    _limit(request["timeout_s"])
    table = query(request["sql"], Path(request["runs"]), request["timeout_s"], _MEMORY_LIMIT)
    if table.nbytes > _MOST_RESULT_BYTES:
        raise QueryError(
            f"the result has {table.nbytes >> 20} MB; at most {_MOST_RESULT_BYTES >> 20} MB are given"
        )
    return as_stream(table)


def main() -> None:
    """Serve one query: request on stdin, Arrow stream on stdout, or an error as JSON on stderr."""
    try:
        with ended_by_ctrl_c():
            answer = _answer(json.loads(sys.stdin.read()))
    except (QueryError, MemoryError) as error:
        lacking = "the query needs more memory than it may have"
        reason = str(error) if isinstance(error, QueryError) else lacking
        sys.stderr.write(json.dumps({"error": reason}) + "\n")
        sys.exit(3)
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
