"""The view ``labels``: how the hosts of the runs are called, a row a writer and label."""

from collections.abc import Iterable
from functools import cache

import pyarrow as pa
from thermograd.store.labels.hosts import writer_places
from thermograd.store.query.data.computed import LazyTable
from thermograd.store.runs.catalogue import Run

_SCHEMA = pa.schema(
    {
        "run_id": pa.string(),
        "writer": pa.string(),
        "role": pa.string(),
        "host": pa.string(),
        "rank": pa.int64(),
        "label": pa.string(),
        "value": pa.string(),
    }
)


def labels_view(runs: Iterable[Run]) -> LazyTable:
    """Return the labels of the runs' hosts, read at the first scan."""

    @cache
    def compute() -> pa.Table:
        rows = [
            {"run_id": run.run_id, "label": name, "value": value, **place._asdict()}
            for run in runs
            for place in writer_places(run.writers())
            for name, value in place.labels.items()
        ]
        return pa.Table.from_pylist(rows, _SCHEMA)

    return LazyTable(_SCHEMA, compute)
