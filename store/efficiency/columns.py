"""Quantities derived from samples, computed when a query asks for them."""

import math
from array import array
from collections.abc import Iterable, Iterator
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
INPUT = ["time_ns", "utilization_pct", "power_w", "temperature_c"]


def efficiency_of(facts: dict[str, Any], samples: pa.Table) -> list[dict[str, Any]]:
    """Run the efficiency estimator over one device's samples in time order; a dict a sample.

    `facts`: the device's entry of ``run.json``. `samples`: the columns `INPUT`, sorted by time. Outputs are
    None where the estimator has none; ``flags`` names readings that were missing. Without power or rated
    power the load is not known, so ``a_load`` is None (the estimator's stand-in for it is no reading).
    """
    names = SCHEMA.names[5:-2]
    rows = []
    for estimator in _estimates(facts, samples):
        row = {name: getattr(estimator, name) for name in names}
        if {"power_missing", "rated_power_missing"} & set(estimator.flags):
            row["a_load"] = None
        row["flags"] = " ".join(sorted(estimator.flags))
        rows.append(row | {"definition": estimator.definition_id})
    return rows


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
