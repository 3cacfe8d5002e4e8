"""Quantities derived from samples, computed when a query asks for them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.store.efficiency.estimator import Efficiency
from thermograd.store.efficiency.whole_run import Readings, efficiency_arrays

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


def efficiency_columns(facts: dict[str, Any], samples: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Return `rle`, `rle_smoothed` and `collapse` of `efficiency_of` as float64, NaN for None."""
    time_ns = samples.column("time_ns").to_numpy()
    given = Readings(time_ns / 1e9, *(_floats(samples.column(name)) for name in INPUT[1:]))
    kept = np.append(True, given.time_s[1:] > np.maximum.accumulate(given.time_s)[:-1])[: time_ns.size]
    found = efficiency_arrays(facts, given.of(kept))
    standing = np.cumsum(kept) - 1  # a reading that is not later than the one before changes nothing
    return {name: column[standing] for name, column in found.items()}


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _estimates(facts: dict[str, Any], samples: pa.Table) -> Iterator[Efficiency]:
    """Yield the estimator after each sample; it is one object, and changes."""
    estimator = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c"))
    for batch in samples.select(INPUT).to_batches(max_chunksize=65_536):
        for time_ns, *readings in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            estimator.update(time_ns / 1e9, *readings)
            yield estimator
