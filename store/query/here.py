"""A query answered in this process: for the owner of the runs, who has set no limits, at once.

`sandbox.answer` starts a process that it can end and whose memory is bounded, and that takes longer than most
answers. Here the connection is as closed as there, and memory is bounded by what the machine has: the system
would end this process without a word. What is not needed is not loaded: not even numpy, which Arrow looks
for, where all that is asked for is events that are sealed.
"""

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thermograd.store.errors import QueryError, ThermogradError
from thermograd.store.events import KINDS
from thermograd.store.lazy_names import no_collection, numpy_kept_out
from thermograd.store.query.data.needed import named_views
from thermograd.store.query.registered import taken
from thermograd.store.runs.catalogue import list_runs

_LEAST_BYTES = 2 << 30  # of memory: that much is reserved, not used, by who allocates it
_RESERVED_BYTES = 1 << 30  # beforehand, by Arrow's pool
_KIND_OF = {f"{kind}s": kind for kind in KINDS}


def answer_here(sql: str, runs: Path, output_format: str) -> Generator[bytes]:
    """Yield the answer of one SELECT or EXPLAIN as `sandbox.answer` does without limits.

    Raises
    ------
    QueryError
        As that does.
    """
    try:
        with _within_memory():
            yield from _answered(sql, runs, output_format)
    except ThermogradError:
        raise
    except MemoryError as error:
        from thermograd.store.query.connection import NO_MEMORY

        raise QueryError(NO_MEMORY) from error
    except Exception as error:  # what nobody has foreseen of files and SQL is told as the child tells it
        raise QueryError(f"the query failed: {type(error).__name__}: {error}") from error


def _answered(sql: str, runs: Path, output_format: str) -> Generator[bytes]:
    from thermograd.store.places.place import uncatalogued_folder

    folder, views = uncatalogued_folder(runs), named_views(sql)
    if folder is None or views is None or not views <= _KIND_OF.keys() or "pyarrow" in sys.modules:
        from thermograd.store.query.connection import stream

        yield from stream(sql, runs, output_format)
        return
    with no_collection():
        listed = list_runs(folder)
        present = taken(listed, [_KIND_OF[view] for view in views])  # it loads numpy where that is needed
    with numpy_kept_out(), no_collection():
        import thermograd.store.query.data.sources  # noqa: F401
        from thermograd.store.query.connection import NotHereError, stream
    try:
        yield from stream(sql, listed, output_format, taken=present)
    except NotHereError:
        from thermograd.store.query.sandbox import Limits, answer

        yield from answer(sql, runs, output_format, Limits())


@contextmanager
def _within_memory() -> Iterator[None]:
    """Let this process take no more memory than there is, where the platform can bound it and tells."""
    free = _free_bytes()
    if free is None:
        yield
        return
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_DATA)  # what is mapped from files is not counted
    most = [bound for bound in before if bound != resource.RLIM_INFINITY]
    bound = min([max(taken + free + _RESERVED_BYTES, _LEAST_BYTES), *most])
    resource.setrlimit(resource.RLIMIT_DATA, (bound, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _free_bytes() -> int | None:
    """Return how much memory Linux would give away now, also to a container; None elsewhere."""
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, KeyError, IndexError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        told = {words[0]: int(words[1]) << 10 for words in lines}
        bounds = [told["MemAvailable:"] + told["SwapFree:"]]
        own = Path("/proc/self/cgroup").read_text().splitlines()[-1].rpartition(":")[2]
        for folder in ("/sys/fs/cgroup", f"/sys/fs/cgroup{own}"):
            with suppress(OSError, ValueError):  # none, or "max"
                bounds.append(int(Path(folder, "memory.max").read_text()))
        return min(bounds)
    return None
