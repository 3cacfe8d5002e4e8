"""Quantities derived from samples, computed when a query asks for them."""

import math
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
from thermograd.store.efficiency.estimator import Efficiency

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "writer")),
        *((name, pa.int64()) for name in ("seq", "time_ns")),
        ("device", pa.string()),
        *((name, pa.float64()) for name in ("rle", "rle_smoothed", "rolling_peak")),
        ("collapse", pa.bool_()),
        *((name, pa.float64()) for name in ("stability", "a_load", "t_sustain_s")),
        *((name, pa.string()) for name in ("flags", "definition")),
    ]
)
_DERIVED = pa.schema(list(SCHEMA)[5:])
_A_LOAD = _DERIVED.get_field_index("a_load")
_PART_ROWS = 1 << 14
INPUT = ["time_ns", "utilization_pct", "power_w", "temperature_c"]


def efficiency_of(facts: dict[str, Any], samples: pa.Table) -> Iterator[pa.Table]:
    """Yield what the efficiency estimator makes of one device's samples in time order, in parts.

    `facts`: the device's entry of ``run.json``. `samples`: the columns `INPUT`, sorted by time. Of the parts:
    the columns of `SCHEMA` from ``rle`` on. Outputs are null where the estimator has none; ``flags`` names
    readings that were missing. Without power or rated power the load is not known, so ``a_load`` is null
    (the estimator's stand-in for it is no reading).
    """
    definition = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c")).definition_id
    rows = map(_row, _estimates(facts, samples))
    while part := list(islice(rows, _PART_ROWS)):
        columns = [*zip(*part, strict=True), [definition] * len(part)]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _DERIVED, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=_DERIVED)


def _row(estimator: Efficiency) -> tuple[Any, ...]:
    flags = estimator.flags
    values = [getattr(estimator, name) for name in _DERIVED.names[:-2]]
    if not {"power_missing", "rated_power_missing"}.isdisjoint(flags):
        values[_A_LOAD] = None
    return (*values, " ".join(sorted(flags)))


def efficiency_columns(
    facts: dict[str, Any], samples: pa.Table, names: Iterable[str]
) -> dict[str, "array[float]"]:
    """Return some outputs of `efficiency_of` as float64, NaN for None: 8 bytes a sample, not a dict."""
    columns = {name: array("d") for name in names}
    for estimator in _estimates(facts, samples):
        for name, column in columns.items():
            value = getattr(estimator, name)
            column.append(math.nan if value is None else value)
    return columns


def _estimates(facts: dict[str, Any], samples: pa.Table) -> Iterator[Efficiency]:
    """Yield the estimator after each sample; it is one object, and changes."""
    estimator = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c"))
    for batch in samples.select(INPUT).to_batches(max_chunksize=65_536):
        for time_ns, *readings in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            estimator.update(time_ns / 1e9, *readings)
            yield estimator
