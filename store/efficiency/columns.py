"""Quantities derived from samples, computed when a query asks for them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.store.efficiency.estimator import Efficiency
from thermograd.store.efficiency.whole_run import MISSING, Estimates, Readings, estimates, is_even, rle_alone

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
_OF_LOAD = [MISSING.index(name) for name in ("power_missing", "rated_power_missing")]
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
    given, kept, standing = _readings(samples)
    if not is_even(given):
        yield from _one_by_one(facts, samples, definition)
        return
    found = estimates(facts, given.of(kept))
    for start in range(0, len(samples), _PART_ROWS):
        rows = standing[start : start + _PART_ROWS]
        yield _table_of(found, rows, definition)


def _table_of(found: Estimates, rows: NDArray[np.int64], definition: str) -> pa.Table:
    """Return some rows of the estimates as `efficiency_of` gives them."""
    unused = ~found.used[rows]
    missing = found.is_missing[rows]
    no_load = unused | missing[:, _OF_LOAD].any(axis=1)
    columns = [
        pa.array(
            getattr(found, field.name)[rows], field.type, mask=no_load if field.name == "a_load" else unused
        )
        for field in list(_DERIVED)[:-2]
    ]
    flags, definitions = _flags(missing), pa.repeat(pa.scalar(definition), len(rows))
    return pa.Table.from_arrays([*columns, flags, definitions], schema=_DERIVED)


def _flags(missing: NDArray[np.bool_]) -> pa.Array:
    """Return the names of what is missing, a text a row."""
    which = missing @ (1 << np.arange(len(MISSING)))
    found, place = np.unique(which, return_inverse=True)
    texts = [" ".join(name for i, name in enumerate(MISSING) if code >> i & 1) for code in found.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(place))


def _one_by_one(facts: dict[str, Any], samples: pa.Table, definition: str) -> Iterator[pa.Table]:
    """Yield what `efficiency_of` does from the estimator itself."""
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
    given, kept, standing = _readings(samples)
    found = estimates(facts, given.of(kept))
    columns = {"rle": found.rle, "rle_smoothed": found.rle_smoothed, "collapse": found.collapse}
    return {name: np.where(found.used, column, np.nan)[standing] for name, column in columns.items()}


def rle_column(facts: dict[str, Any], samples: pa.Table) -> NDArray[np.float64]:
    """Return `rle` of `efficiency_columns` alone, in half the time."""
    given, kept, standing = _readings(samples)
    found = rle_alone(facts, given.of(kept))
    return found if found.size == standing.size else found[standing]


def _readings(samples: pa.Table) -> tuple[Readings, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the readings, which of them count, and for each the one among these that stands at its time.

    One that is not later than those before it changes nothing.
    """
    time_ns = samples.column("time_ns").to_numpy()
    given = Readings(time_ns / 1e9, *(_floats(samples.column(name)) for name in INPUT[1:]))
    kept = np.append(True, given.time_s[1:] > np.maximum.accumulate(given.time_s)[:-1])[: time_ns.size]
    return given, kept, np.cumsum(kept) - 1


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _estimates(facts: dict[str, Any], samples: pa.Table) -> Iterator[Efficiency]:
    """Yield the estimator after each sample; it is one object, and changes."""
    estimator = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c"))
    for batch in samples.select(INPUT).to_batches(max_chunksize=65_536):
        for time_ns, *readings in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            estimator.update(time_ns / 1e9, *readings)
            yield estimator
