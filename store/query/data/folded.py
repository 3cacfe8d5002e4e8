"""Events of many runs in one file, as `compact` folds them: which of them a query reads."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from thermograd.store.log.reading.damage import Damage
from thermograd.store.log.segments import UNREADABLE
from thermograd.store.places.catalogue import events_name, runs_of_batch
from thermograd.store.runs.at_places.batches import GROUPS
from thermograd.store.runs.catalogue import Run


class Folded:
    """The folded events of one kind of some runs."""

    def __init__(self, runs: Iterable[Run], kind: str) -> None:
        self._files: dict[Path, set[str]] = defaultdict(set)
        self._file_of: dict[str, Path] = {}
        self._batches: dict[Path, str] = {}
        paths: dict[tuple[str, str], Path] = {}
        for run in runs:
            if run.known is not None and run.known.batch:
                place = os.path.dirname(run.path), run.known.batch
                if place not in paths:
                    paths[place] = run.path.parent / events_name(kind, run.known.batch)
                path = paths[place]
                self._batches[path] = run.known.batch
                self._files[path].add(run.run_id)
                self._file_of[run.run_id] = path

    def files(self) -> Iterator[tuple[Path, list[int] | None]]:
        """Iterate over the files and which of their row groups are of wanted runs alone; None: all."""
        for path, wanted in self._files.items():
            if self._is_whole(path) or not path.exists():  # not fetched: an error to who scans it
                yield path, None
            else:
                yield path, [n for n, runs in enumerate(_groups(path)) if wanted.issuperset(runs)]

    def shared(self) -> Iterator[pa.Table]:
        """Iterate over the rows of wanted runs that stand in row groups with those of others."""
        for path, wanted in self._files.items():
            is_read = path.exists() and not self._is_whole(path)
            for number, runs in enumerate(_groups(path) if is_read else ()):
                if not wanted.isdisjoint(runs) and not wanted.issuperset(runs):
                    yield _group(path, number).filter(pc.field("run_id").isin(sorted(wanted)))

    def of(self, run_id: str) -> list[pa.Table]:
        """Return the events of one run, in parts."""
        path = self._file_of.get(run_id)
        groups = enumerate(_groups(path)) if path is not None else ()
        return [_rows_of(_group(path, n), run_id) for n, runs in groups if run_id in runs]

    def _is_whole(self, path: Path) -> bool:
        return len(self._files[path]) == runs_of_batch(self._batches[path])


@lru_cache(maxsize=4096)
def _groups(path: Path) -> list[list[str]]:
    return msgspec.json.decode(pq.read_metadata(path).metadata[GROUPS.encode()], type=list[list[str]])


@lru_cache(maxsize=4)  # one of each kind: runs are asked for one after the other
def _group(path: Path, number: int) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read_row_group(number)


def _rows_of(group: pa.Table, run_id: str) -> pa.Table:
    """Return a run's rows, which stand together."""
    ids = group.column("run_id").combine_chunks()
    first = pc.index(ids, pa.scalar(run_id)).as_py()
    count = pc.sum(pc.equal(ids, pa.scalar(run_id))).as_py()
    return group.slice(first, count)


def folded_damage(runs: Iterable[Run], kinds: Iterable[str]) -> Iterator[Damage]:
    """Iterate over the folded files of runs that cannot be read whole."""
    for kind in kinds:
        for path, _ in Folded(runs, kind).files():
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    for number in range(file.num_row_groups):
                        file.read_row_group(number)
            except FileNotFoundError:
                continue
            except UNREADABLE as error:
                yield Damage(path, 0, str(error).splitlines()[0][:300])


def dataset_of(tables: list[pa.Table], schema: pa.Schema) -> ds.Dataset:
    """Return tables as a dataset of a schema; a column that they lack is null."""
    return ds.dataset(
        pa.concat_tables([conformed(t, schema) for t in tables]) if tables else schema.empty_table()
    )


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table in the columns of a schema: one that an earlier version did not have is null."""
    return pa.table(
        [
            table.column(field.name).cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        ],
        schema=schema,
    )
