"""Writing a run that is whole or not there at all: an import's, a simulation's."""

import heapq
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import Run, build_run
from thermograd.store.telling.quantities import counted

if TYPE_CHECKING:
    from thermograd.store.runs.bulk import BulkWriter

BATCH_ROWS = 8192  # few, large batches: appending is much faster than during a training

TimedEvent = tuple[int, str, dict[str, Any]]


class WholeRun:
    """A run that is out of sight until it is whole: its writers, and how many events they were given."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.appended = 0
        self._writers: dict[str, EventWriter] = {}
        self._bulk: dict[tuple[str, str], BulkWriter] = {}

    def open(self, name: str, role: str) -> str:
        """Open a writer and return its name in the log."""
        writer = EventWriter(
            self.run.path, self.run.run_id, new_writer_name(name), (), batch_rows=BATCH_ROWS, role=role
        )
        self._writers[writer.writer] = writer
        return writer.writer

    def append(self, writer: str, time_ns: int, kind: str, values: Mapping[str, Any]) -> int | None:
        """Append an event, at `time_ns` if it has no time of its own; return its `seq`, None if lost."""
        self.appended += 1
        timed = {"time_ns": time_ns, "monotonic_ns": time_ns, **values}
        return self._writers[writer].append(kind, **timed)

    def append_table(self, writer: str, kind: str, table: pa.Table) -> None:
        """Append events at ``_time_ns``, in this order, at little cost, without columns that begin with _.

        All events of this kind and writer have to be appended so. LogError where they cannot be written.
        """
        from thermograd.store.runs.bulk import BulkWriter

        names = [name for name in table.column_names if not name.startswith("_")]
        events = table.select(names).append_column("time_ns", table["_time_ns"])
        with os_errors_as(LogError, f"cannot write events to {self.run.path.parent}"):
            if (writer, kind) not in self._bulk:
                self._bulk[writer, kind] = BulkWriter(self.run.path, self.run.run_id, writer, kind)
            self._bulk[writer, kind].append_table(events)

    def finish_tables(self) -> None:
        """Bring to the disk what `append_table` was given. LogError where that fails."""
        with os_errors_as(LogError, f"cannot write events to {self.run.path.parent}"):
            for bulk in self._bulk.values():
                bulk.close()

    def close(self) -> int:
        """End the writers; return how many events could not be written."""
        for bulk in self._bulk.values():
            bulk.give_up()
        for writer in self._writers.values():
            writer.close()
        return sum(writer.lost for writer in self._writers.values())


@contextmanager
def whole_run(runs_dir: Path, name: str, facts: dict[str, Any], what: str) -> Iterator[WholeRun]:
    """Create a run, seal what the block appends to it, and only then let it appear.

    Raises LogError if an event of `what` could not be written; nothing is left behind then.
    """
    from thermograd.store.log.seal import seal_run

    with build_run(runs_dir, name, facts) as run:
        whole = WholeRun(run)
        try:
            yield whole
            whole.finish_tables()
        finally:
            lost = whole.close()
        sealed = seal_run(run.path, run.run_id).events
        missing = max(lost, whole.appended - sum(sealed.values()))
        if missing:
            raise LogError(f"{counted(missing, 'event')} of the {what} could not be written to {runs_dir}")


def events_in_order(tables: Mapping[Any, pa.Table]) -> Iterator[TimedEvent]:
    """Yield the rows of all kinds' tables by ``_time_ns``; columns that begin with ``_`` are left out.

    Each table is sorted. As Python objects all rows would need much memory: they are made a batch at a time.
    """
    kinds = (_events(kind, table) for kind, table in sorted(tables.items()))
    return heapq.merge(*kinds, key=lambda event: event[0])


def _events(kind: str, table: pa.Table) -> Iterator[TimedEvent]:
    columns = [name for name in table.column_names if not name.startswith("_")]
    for start in range(0, len(table), BATCH_ROWS):
        batch = table.slice(start, BATCH_ROWS)
        times = batch["_time_ns"].to_pylist()
        for time_ns, values in zip(times, batch.select(columns).to_pylist(), strict=True):
            yield time_ns, kind, values
