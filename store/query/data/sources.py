"""Events of runs as Arrow datasets: sealed files and what was live at one moment, of all runs or of one."""

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from thermograd.store.errors import LogError
from thermograd.store.events import arrow_schema
from thermograd.store.files import Segment, is_plain_file
from thermograd.store.log.present.snapshots import Snapshot, snapshot
from thermograd.store.log.reading.damage import Damage, tell
from thermograd.store.runs.catalogue import Run

if TYPE_CHECKING:
    from thermograd.store.query.data.folded import Folded

_log = logging.getLogger("thermograd")
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(
        pre_buffer=False, page_checksum_verification=True
    )
)
_FILES = LocalFileSystem(use_mmap=True)  # sealed files never change: no copy is needed


class Events:
    """The events of one kind of many runs, with run and writer columns, as they were when it was made.

    Attributes
    ----------
    schema
        Of every dataset of it.
    """

    def __init__(
        self,
        runs: Collection[Run],
        kind: str,
        damaged: dict[Path, int],
        taken: Mapping[tuple[str, str], Snapshot],
    ) -> None:
        """Take what there is of the runs; of a file in `damaged` so many leading row groups only.

        `taken`: what there was, by run and kind, where it was looked at before.
        """
        identity = [pa.field("run_id", pa.string()), pa.field("writer", pa.string())]
        self.schema = pa.schema([*identity, *arrow_schema(kind).remove_metadata()])
        self._parts: dict[str, tuple[list[ds.Fragment], list[pa.Table]]] = {}
        self._folded = _folded([run for run in runs if _is_folded(run, kind, damaged)], kind)
        for run in runs:
            if _is_folded(run, kind, damaged):
                continue
            try:
                current = taken.get((run.run_id, kind)) or snapshot(run.path, kind)
                self._parts[run.run_id] = self._parts_of(run, current, damaged)
            except LogError as error:  # one hostile run must not hide the others
                _log.warning("%s; they are left out", error)

    def of(self, run_id: str) -> ds.Dataset:
        """Return the events of one run."""
        if self._folded is None or run_id in self._parts:
            return self._dataset([self._parts.get(run_id, ([], []))])
        from thermograd.store.query.data.folded import dataset_of

        return dataset_of(self._folded.of(run_id), self.schema)

    def whole(self) -> ds.Dataset:
        """Return the events of all runs."""
        if self._folded is None:
            return self._dataset(self._parts.values())
        from thermograd.store.query.data.folded import conformed

        of_many = [_FORMAT.make_fragment(str(path), _FILES, None, n) for path, n in self._folded.files()]
        shared = [conformed(table, self.schema) for table in self._folded.shared()]
        return self._dataset([*self._parts.values(), (of_many, shared)])

    def _dataset(self, parts: Iterable[tuple[list[ds.Fragment], list[pa.Table]]]) -> ds.Dataset:
        fragments = [fragment for sealed, _ in parts for fragment in sealed]
        tables = [table for _, live in parts for table in live]
        sealed = ds.FileSystemDataset(fragments, self.schema, _FORMAT, _FILES)
        return ds.dataset([sealed, ds.dataset(pa.concat_tables(tables))]) if tables else sealed

    def _parts_of(
        self, run: Run, current: Snapshot, damaged: dict[Path, int]
    ) -> tuple[list[ds.Fragment], list[pa.Table]]:
        fragments = [
            _fragment(run, segment, damaged.get(segment.path))
            for segment in filter(_is_plain, current.sealed)
            if damaged.get(segment.path) != 0
        ]
        return fragments, [self._live(run, *part) for part in current.live.items()]

    def _live(self, run: Run, writer: str, table: pa.Table) -> pa.Table:
        columns = [pa.repeat(pa.scalar(value), len(table)) for value in (run.run_id, writer)]
        return pa.table([*columns, *table.columns], schema=self.schema)


def may_hold(schema: pa.Schema, condition: ds.Expression | None, **known: str) -> bool:
    """Return whether a row of which some values are known can meet a condition.

    Examples
    --------
    >>> schema = pa.schema({"run_id": pa.string(), "loss": pa.float64()})
    >>> condition = (ds.field("run_id") == "a") & (ds.field("loss") > 1)
    >>> may_hold(schema, condition, run_id="a"), may_hold(schema, condition, run_id="b")
    (True, False)
    """
    if condition is None:
        return True
    (first, *rest) = (ds.field(name) == value for name, value in known.items())
    for other in rest:
        first &= other
    # A file that is never opened: pyarrow leaves out those whose guarantee excludes the condition.
    nowhere = _FORMAT.make_fragment("", _FILES, first)
    return any(ds.FileSystemDataset([nowhere], schema, _FORMAT, _FILES).get_fragments(condition))


def _fragment(run: Run, segment: Segment, whole_groups: int | None) -> ds.Fragment:
    known = (ds.field("run_id") == run.run_id) & (ds.field("writer") == segment.writer)
    groups = None if whole_groups is None else range(whole_groups)
    return _FORMAT.make_fragment(str(segment.path), _FILES, known, groups)


def _folded(runs: list[Run], kind: str) -> "Folded | None":
    if not runs:
        return None
    from thermograd.store.query.data.folded import Folded

    return Folded(runs, kind)


def _is_folded(run: Run, kind: str, damaged: Collection[Path]) -> bool:
    """Return whether a run's events are read where those of many are folded."""
    batch = run.known.batch if run.known is not None else ""
    if not batch or not damaged:
        return bool(batch)
    from thermograd.store.places.catalogue import events_name

    return run.path.parent / events_name(kind, batch) not in damaged


def _is_plain(segment: Segment) -> bool:
    """Return whether a sealed file may be opened, and say so where not: a link could lead anywhere."""
    if is_plain_file(segment.path):
        return True
    tell(Damage(segment.path, 0, "not a plain file"))
    return False
