"""What a script logged of its own, as series by name, and what each ended with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.store.log.reader import kind_parts
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import cell_text

_MOST_TOLD = 12
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


class LastMetric(NamedTuple):
    """The last value of a metric, a number or a text, the step of it, and how often it was `logged`."""

    value: float | None
    text: str | None
    step: int | None
    logged: int


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


def last_metrics(run: Run) -> dict[str, LastMetric]:
    """Return what each metric of a run ended with, by name; of several ranks the lowest's.

    Only a part of the log is in memory at a time.
    """
    found: dict[str, tuple[tuple[int, int], LastMetric]] = {}
    for part in kind_parts(run.path, "metric"):
        for row, count in _ends(part) if len(part) else ():
            place = -(row["rank"] or 0), row["time_ns"]
            known = found.get(row["name"] or "")
            total = count + (known[1].logged if known else 0)
            if known is None or place >= known[0]:
                last = LastMetric(row["value"], row["text"], row["step"], total)
            else:
                place, last = known[0], known[1]._replace(logged=total)
            found[row["name"] or ""] = place, last
    return {name: found[name][1] for name in sorted(found)}


def _ends(part: pa.Table) -> list[tuple[dict[str, Any], int]]:
    """Return the last row of each name in a part, and how many it has."""
    names = part.column("name").cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
    code, time_ns, seq = np.asarray(names.indices), *(np.asarray(part.column(n)) for n in ("time_ns", "seq"))
    rank = np.asarray(part.column("rank").cast(pa.int64()).fill_null(0))
    order = np.lexsort((seq, time_ns, -rank, code))
    ends = np.flatnonzero(np.diff(code[order], append=-1))
    rows = part.take(order[ends]).to_pylist()
    return list(zip(rows, np.diff(ends, prepend=-1).tolist(), strict=True))


def metric_lines(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a few metrics ended with, `last_metrics` as dictionaries, under their heading.

    Evaluations come first, then what was logged most often.
    """
    lines = []
    for name, last in sorted(metrics.items(), key=_by_interest)[:_MOST_TOLD]:
        value = cell_text(last["text"] if last["value"] is None else last["value"])
        at = "" if last["step"] is None else f"at step {last['step']:,}, "
        lines.append(f"  {cell_text(name)}  {value}  ({at}{last['logged']:,} logged)")
    more = len(metrics) - _MOST_TOLD
    lines += [f'  and {more:,} more: thermograd query "SELECT * FROM metrics"'] * (more > 0)
    return ["", "Metrics", *lines] if lines else []


def _by_interest(metric: tuple[str, Mapping[str, Any]]) -> tuple[bool, int]:
    name, last = metric
    return not name.lower().startswith(("eval", "val", "test")), -last["logged"]
