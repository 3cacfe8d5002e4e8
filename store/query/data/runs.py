"""The view ``runs``: one row a run, of which only the columns that a query names are gathered."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.steps import count_steps
from thermograd.store.runs.table import RunRow


def _fact(name: str) -> Callable[[RunRow], Any]:
    return lambda row: row.run.facts.get(name)


def _count(kind: str) -> Callable[[RunRow], int]:
    return lambda row: count_events(row.run.path, kind)


_TEXT, _TEXTS, _NUMBER = pa.string(), pa.list_(pa.string()), pa.float64()
_COLUMNS: dict[str, tuple[pa.DataType, Callable[[RunRow], Any]]] = {
    "run_id": (_TEXT, lambda row: row.run.run_id),
    "name": (_TEXT, lambda row: row.run.name),
    "started": (pa.timestamp("ns"), lambda row: row.run.started_time_ns),
    "ended": (pa.timestamp("ns"), lambda row: row.run.ended_time_ns()),
    "state": (_TEXT, lambda row: row.run.state()),
    "reason": (_TEXT, lambda row: row.run.end().reason),
    "exit_code": (pa.int64(), lambda row: row.run.end().exit_code),
    "devices": (_TEXTS, lambda row: sorted(row.run.facts.get("devices", {}))),
    "host": (_TEXT, _fact("host")),
    "source": (_TEXT, _fact("source")),
    "steps": (pa.int64(), lambda row: count_steps(row.run.path).steps),
    "ranks": (pa.int64(), lambda row: count_steps(row.run.path).ranks),
    "samples": (pa.int64(), _count("sample")),
    "alerts": (pa.int64(), _count("alert")),
    "duration_s": (_NUMBER, lambda row: row.duration_s),
    "loss": (_NUMBER, lambda row: row.loss),
    "verdict": (_TEXT, lambda row: row.verdict),
    "tags": (_TEXTS, lambda row: row.tags),
    "notes": (_TEXTS, lambda row: row.notes),
}
RUN_COLUMNS = tuple(_COLUMNS)


def _told(row: RunRow, column: str) -> Any:
    """Return a value from the catalogue's row of a run."""
    return row.known.get(f"{column}_time_ns" if column in ("started", "ended") else column)


class RunsView(ds.InMemoryDataset):  # type: ignore[misc]
    """The rows of the runs, gathered anew at every scan: state takes looking."""

    def __init__(self, runs: list[Run]) -> None:
        super().__init__(pa.schema({name: kind for name, (kind, _) in _COLUMNS.items()}).empty_table())
        self._runs = runs

    def scanner(
        self, columns: list[str] | None = None, filter: pc.Expression | None = None, **options: Any
    ) -> ds.Scanner:
        """Return a scan of rows as they are now, of the columns asked for and those that a filter names."""
        named = set(_COLUMNS if columns is None else columns) | set(re.findall(r"\w+", str(filter)))
        wanted = {name: _COLUMNS[name] for name in _COLUMNS if name in named}
        rows = [RunRow(run) for run in self._runs]
        data = {
            name: pa.array([_told(row, name) if row.known else value_of(row) for row in rows], kind)
            for name, (kind, value_of) in wanted.items()
        }
        return ds.dataset(pa.table(data)).scanner(columns=columns, filter=filter, **options)
