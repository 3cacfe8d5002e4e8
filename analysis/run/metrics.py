"""What a script logged of its own, as series by name; and what a run's configuration was."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from thermograd.analysis.arrays import Floats, Times
from thermograd.store.log.reader import kind_parts
from thermograd.store.runs.catalogue import Run

_COLUMNS = ("seq", "time_ns", "step", "rank", "name", "value")


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric of one rank, in time order; a value that was not logged as a number is not in it.

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
    time_ns: Times
    step: Floats
    value: Floats


def load_metrics(run: Run) -> dict[str, Metric]:
    """Return the metrics of a run by name, in the order of the names; of several ranks the lowest's."""
    parts = [_numbers(part) for part in kind_parts(run.path, "metric")]
    parts = [part for part in parts if len(part)]
    if not parts:
        return {}
    table = pa.concat_tables(parts).unify_dictionaries()
    names = table.column("name").combine_chunks()
    code = np.asarray(names.indices, dtype=np.int64)
    rank, time_ns, seq = (
        np.asarray(table.column(name), dtype=np.int64) for name in ("rank", "time_ns", "seq")
    )
    lowest = np.full(len(names.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(lowest, code, rank)
    order = np.lexsort((seq, time_ns, code))
    order = order[rank[order] == lowest[code[order]]]
    step, value = (np.asarray(table.column(name), dtype=np.float64) for name in ("step", "value"))
    ends = np.flatnonzero(np.diff(code[order])) + 1
    found = {}
    for rows in np.split(order, ends):
        name = str(names.dictionary[int(code[rows[0]])])
        found[name] = Metric(name, time_ns[rows], step[rows], value[rows])
    return dict(sorted(found.items()))


def _numbers(part: pa.Table) -> pa.Table:
    """Return the rows of a part that are numbers, in columns of one type."""
    part = part.filter(part.column("value").is_valid()).select(_COLUMNS)
    step = part.column("step").cast(pa.float64()).fill_null(float("nan"))
    part = part.set_column(_COLUMNS.index("step"), "step", step)
    part = part.set_column(_COLUMNS.index("rank"), "rank", part.column("rank").cast(pa.int64()).fill_null(0))
    names = part.column("name").cast(pa.string()).fill_null("").dictionary_encode()
    value = part.column("value").cast(pa.float64())
    part = part.set_column(_COLUMNS.index("name"), "name", names)
    return part.set_column(_COLUMNS.index("value"), "value", value)
