"""What a script logged of its own, as series by name."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.store.log.reader import kind_parts
from thermograd.store.runs.catalogue import Run

_COLUMNS = ("seq", "time_ns", "step", "rank", "name", "value")


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric of one rank, in time order; what was not logged as a number is not in it.

    Attributes
    ----------
    name
        As the script calls it.
    time_ns
        Shape (n,): when it was logged, int64 ns UTC.
    step
        Shape (n,): at which optimizer step, NaN where that is not known.
    value
        Shape (n,): the numbers; NaN and infinity are what was logged.
    """

    name: str
    time_ns: NDArray[np.int64]
    step: NDArray[np.float64]
    value: NDArray[np.float64]


def read_metrics(run: Run) -> dict[str, Metric]:
    """Return the metrics of a run by name, in the order of the names; of several ranks the lowest's."""
    parts = [part for part in map(_numbers, kind_parts(run.path, "metric")) if len(part)]
    if not parts:
        return {}
    table = pa.concat_tables(parts).unify_dictionaries()
    names = table.column("name").chunk(0).dictionary.to_pylist()
    code = np.concatenate([np.asarray(chunk.indices) for chunk in table.column("name").chunks])
    rank, time_ns, seq = (np.asarray(table.column(name)) for name in ("rank", "time_ns", "seq"))
    step, value = (np.asarray(table.column(name)) for name in ("step", "value"))
    lowest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(lowest, code, rank)
    order = np.lexsort((seq, time_ns, code))
    order = order[rank[order] == lowest[code[order]]]
    by_name = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
    found = [Metric(names[code[rows[0]]], time_ns[rows], step[rows], value[rows]) for rows in by_name]
    return {metric.name: metric for metric in sorted(found, key=lambda metric: metric.name)}


def _numbers(part: pa.Table) -> pa.Table:
    """Return the rows of a part that are numbers, without nulls and in columns of one type."""
    part = part.filter(part.column("value").is_valid())
    columns = {name: part.column(name) for name in _COLUMNS}
    columns["step"] = columns["step"].cast(pa.float64()).fill_null(float("nan"))
    columns["rank"] = columns["rank"].cast(pa.int64()).fill_null(0)
    columns["name"] = columns["name"].cast(pa.string()).fill_null("").dictionary_encode()
    columns["value"] = columns["value"].cast(pa.float64())
    return pa.table(columns)
