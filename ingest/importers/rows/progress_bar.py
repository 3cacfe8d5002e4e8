"""A bar on a terminal that says how far an import is; nothing anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from thermograd.ingest.importers.rows.workplace import telling


@contextmanager
def progress_bar(is_wanted: bool) -> Iterator[None]:
    """Show on stderr, where that is a terminal, the share of the bytes that is read, and rows a second."""
    if not is_wanted or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, begun = bar.add_task("reading", total=None, rate=""), time.monotonic()

        def told(what: str, done: int, of: int, rows: int) -> None:
            nonlocal begun
            if bar.tasks[0].description != what:
                begun = time.monotonic()
            each_s = rows / max(time.monotonic() - begun, 1e-3)
            bar.update(task, description=what, completed=done, total=of, rate=f"{each_s:,.0f} rows/s")

        with telling(told):
            yield
