"""The view ``config``: the configurations of the runs, a row a value."""

from collections.abc import Iterable
from functools import cache

import pyarrow as pa
from thermograd.store.query.data.computed import LazyTable
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import entries, run_config

_SCHEMA = pa.schema({"run_id": pa.string(), "key": pa.string(), "value": pa.string(), "number": pa.float64()})


def config_view(runs: Iterable[Run]) -> LazyTable:
    """Return the configurations of the runs, read at the first scan."""

    @cache
    def compute() -> pa.Table:
        rows = [{"run_id": run.run_id, **e._asdict()} for run in runs for e in entries(run_config(run))]
        return pa.Table.from_pylist(rows, _SCHEMA)

    return LazyTable(_SCHEMA, compute)
