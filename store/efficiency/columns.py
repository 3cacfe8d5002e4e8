"""Quantities derived from samples, computed when a query asks for them."""

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from thermograd.store.efficiency.estimator import Efficiency

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("writer", pa.string()),
        ("seq", pa.int64()),
        ("time_ns", pa.int64()),
        ("device", pa.string()),
        ("rle", pa.float64()),
        ("rle_smoothed", pa.float64()),
        ("rolling_peak", pa.float64()),
        ("collapse", pa.bool_()),
        ("stability", pa.float64()),
        ("a_load", pa.float64()),
        ("t_sustain_s", pa.float64()),
        ("flags", pa.string()),
        ("definition", pa.string()),
    ]
)
INPUT = ["time_ns", "utilization_pct", "power_w", "temperature_c"]


def efficiency_of(facts: dict[str, Any], samples: pa.Table) -> list[dict[str, Any]]:
    """Run the efficiency estimator over one device's samples in time order.

    Parameters
    ----------
    facts
        The device's entry of ``run.json``: ``rated_power_w``, ``temperature_limit_c`` where known.
    samples
        Columns ``time_ns``, ``utilization_pct``, ``power_w``, ``temperature_c``, sorted by time.

    Returns
    -------
    list of dict
        One a sample: ``rle`` and the estimator's other outputs, None where it has none; ``flags`` names
        readings that were missing. Without power or rated power the load is not known, so ``a_load`` is None
        (the estimator's stand-in for it is no reading).
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
    estimator = Efficiency(
        rated_power_w=facts.get("rated_power_w"), temperature_limit_c=facts.get("temperature_limit_c")
    )
    for batch in samples.select(INPUT).to_batches(max_chunksize=65_536):
        for time_ns, *readings in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            estimator.update(time_ns / 1e9, *readings)
            yield estimator
