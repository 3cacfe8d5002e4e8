"""A query answered in this process: for the owner of the runs, who has set no limits, at once.

`sandbox.answer` starts a process that it can end and whose memory is bounded, and that takes longer than most
answers. Here the connection is as closed as there. What is not needed is not loaded: not even numpy, which
Arrow looks for, where all that is asked for is events that are sealed.
"""

import sys
from collections.abc import Generator
from pathlib import Path

from thermograd.store.events import KINDS
from thermograd.store.lazy_names import no_collection, numpy_kept_out
from thermograd.store.query.data.needed import named_views
from thermograd.store.query.registered import taken
from thermograd.store.runs.catalogue import list_runs

_KIND_OF = {f"{kind}s": kind for kind in KINDS}


def answer_here(sql: str, runs: Path, output_format: str) -> Generator[bytes]:
    """Yield the answer of one SELECT or EXPLAIN as `sandbox.answer` does without limits.

    Raises
    ------
    QueryError
        As that does.
    """
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
