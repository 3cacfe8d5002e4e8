"""Events of runs as Arrow datasets: sealed files and what was live at one moment, of all runs or of one."""

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
_FEW_VALUES = frozenset(  # columns whose values recur: they stay the places in a list that the files have
    {"run_id", "writer", "device", "alert", "severity", "metric", "mark", "name"}
)
_MANY_EVENTS = 1 << 16  # of a file whose columns are worth being asked for beforehand
_FILES = LocalFileSystem(use_mmap=True)  # sealed files never change: no copy is needed


class Events:
    """The events of one kind of many runs, with run and writer columns, as they were when it was made.

    Attributes
    ----------
    schema
        Of the events of one run; of those of all, texts that recur may be dictionaries.
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
        self._parts: dict[str, _Part] = {}
        self._folded = _folded([run for run in runs if _is_folded(run, kind, damaged)], kind)
        for run in runs:
            if _is_folded(run, kind, damaged):
                continue
            try:
                _check_name(run)
                current = taken.get((run.run_id, kind)) or snapshot(run.path, kind)
                self._parts[run.run_id] = self._part(run.run_id, current, damaged)
            except LogError as error:  # one hostile run must not hide the others
                _log.warning("%s; they are left out", error)

    def of(self, run_id: str) -> ds.Dataset:
        """Return the events of one run."""
        if self._folded is None or run_id in self._parts:
            return _Reading(self.schema, _FORMAT, _FORMAT).dataset(
                [self._parts.get(run_id, _Part("", [], []))]
            )
        from thermograd.store.query.data.folded import dataset_of

        return dataset_of(self._folded.of(run_id), self.schema)

    def whole(self) -> ds.Dataset:
        """Return the events of all runs."""
        if self._folded is None:
            return _Reading.of_dictionaries(self.schema).dataset(self._parts.values())
        from thermograd.store.query.data.folded import conformed

        of_many = [_FORMAT.make_fragment(str(path), _FILES, None, n) for path, n in self._folded.files()]
        shared = [conformed(table, self.schema) for table in self._folded.shared()]
        return _Reading(self.schema, _FORMAT, _FORMAT).dataset(self._parts.values(), of_many, shared)

    def _part(self, run_id: str, current: Snapshot, damaged: dict[Path, int]) -> "_Part":
        sealed = [
            _Sealed(segment, damaged.get(segment.path))
            for segment in filter(_is_plain, current.sealed)
            if damaged.get(segment.path) != 0
        ]
        return _Part(run_id, sealed, [self._live(run_id, *part) for part in current.live.items()])

    def _live(self, run_id: str, writer: str, table: pa.Table) -> pa.Table:
        columns = [pa.repeat(pa.scalar(value), len(table)) for value in (run_id, writer)]
        return pa.table([*columns, *table.columns], schema=self.schema)


class _Sealed(NamedTuple):
    """A sealed file, and how many of its row groups are read; None: all."""

    segment: Segment
    groups: int | None


class _Part(NamedTuple):
    """What there is of one run."""

    run_id: str
    sealed: list[_Sealed]
    live: list[pa.Table]


class _Reading(NamedTuple):
    """How files are read: the schema of the rows, the format of small files and that of large ones."""

    schema: pa.Schema
    small: ds.ParquetFileFormat
    large: ds.ParquetFileFormat

    @classmethod
    def of_dictionaries(cls, schema: pa.Schema) -> "_Reading":
        """Let texts that recur be what the files have, places in a list; what reads them need not undo it."""
        names = [field.name for field in schema if field.name in _FEW_VALUES]
        for name in names:
            dictionary = pa.field(name, pa.dictionary(pa.int32(), pa.string()))
            schema = schema.set(schema.get_field_index(name), dictionary)
        options = ds.ParquetReadOptions(dictionary_columns=set(names))
        checked = [
            ds.ParquetFragmentScanOptions(pre_buffer=early, page_checksum_verification=True)
            for early in (False, True)
        ]
        return cls(
            schema,
            *(ds.ParquetFileFormat(read_options=options, default_fragment_scan_options=c) for c in checked),
        )

    def dataset(
        self,
        parts: Collection[_Part],
        others: Iterable[ds.Fragment] = (),
        tables: Iterable[pa.Table] = (),
    ) -> ds.Dataset:
        """Return the events of some parts, with other fragments and tables."""
        fragments = [self._fragment(part.run_id, *one) for part in parts for one in part.sealed]
        live = [self._conformed(table) for part in parts for table in part.live] + [*tables]
        sealed = ds.FileSystemDataset([*fragments, *others], self.schema, self.small, _FILES)
        return ds.dataset([sealed, ds.dataset(pa.concat_tables(live))]) if live else sealed

    def _fragment(self, run_id: str, segment: Segment, whole_groups: int | None) -> ds.Fragment:
        known = (ds.field("run_id") == run_id) & (ds.field("writer") == segment.writer)
        groups = None if whole_groups is None else range(whole_groups)
        is_large = (segment.last or 0) - segment.first >= _MANY_EVENTS
        reading = self.large if is_large else self.small
        return reading.make_fragment(str(segment.path), _FILES, known, groups)

    def _conformed(self, table: pa.Table) -> pa.Table:
        columns = [
            column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
            for column, field in zip(table.columns, self.schema, strict=True)
        ]
        return pa.table(columns, schema=self.schema)


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


def _check_name(run: Run) -> None:
    """Raise LogError where Arrow cannot open the run's files: it takes names in UTF-8."""
    try:
        str(run.path).encode()
    except UnicodeEncodeError:
        raise LogError(f"{run.run_id}: the name of its folder is no text") from None


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
