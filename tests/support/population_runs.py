"""Runs of many devices of one model, written at once as sealed files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.store.events import arrow_schema
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import Run, create_run

START_NS = 1_780_000_000 * 10**9
H100 = "NVIDIA H100 80GB HBM3"
LLAMA = {"model": {"class": "Llama", "parameters": 8_000_000}, "config": {"batch": 32, "seed": 7}}


def uuid(number: int) -> str:
    """Return a device's name as NVML gives it."""
    return f"GPU-{number:08x}-0000-4000-8000-{number:012x}"


def run_of(
    folder: Path,
    devices: Mapping[int, Mapping[str, Any]],
    facts: Mapping[str, Any] | None = None,
    name: str = "run",
    host: str = "node-1",
    seconds: int = 60,
    clock_mhz: float = 1980.0,
    step_s: float = 0.5,
) -> Run:
    """Write a run under load; a device may say power_w, temperature_c, throttled, limit_w, facts."""
    told = {
        uuid(number): {"model": H100, "host": host, "index": place} | dict(own.get("facts", {}))
        for place, (number, own) in enumerate(devices.items())
    }
    run = create_run(folder, name, {"devices": told, "host": host, **(LLAMA if facts is None else facts)})
    at = START_NS + np.arange(seconds + 1) * 10**9
    for number, own in devices.items():
        ones = np.ones(at.size)
        columns = {
            "device": [uuid(number)] * at.size,
            "utilization_pct": 97 * ones,
            "power_w": own.get("power_w", 600.0) * ones,
            "temperature_c": own.get("temperature_c", 60.0) * ones,
            "sm_clock_mhz": own.get("clock_mhz", clock_mhz) * ones,
            "power_limit_w": own.get("limit_w", 700.0) * ones,
            "throttled_thermal_ns": np.round(own.get("throttled", 0.0) * (at - at[0])).astype(np.int64),
        }
        _write(run, f"agent-{number}", "sample", at, columns)
    ends = START_NS + np.round(np.arange(1, int(seconds / step_s)) * step_s * 1e9).astype(np.int64)
    steps = {"step": np.arange(1, ends.size + 1), "step_time_s": np.full(ends.size, step_s)}
    _write(run, "r0", "step", ends, steps | {"rank": np.zeros(ends.size, dtype=np.int64)})
    return run


def _write(run: Run, writer: str, kind: str, at: np.ndarray, columns: Mapping[str, Sequence[Any]]) -> None:
    schema = arrow_schema(kind, run.run_id, writer)
    given = {"seq": np.arange(at.size), "time_ns": at, "monotonic_ns": at, **columns}
    arrays = [
        pa.array(given[f.name], f.type) if f.name in given else pa.nulls(at.size, f.type) for f in schema
    ]
    path = run.path / "sealed" / kind / f"{writer}-{0:012}-{at.size - 1:012}.parquet"
    write_parquet(path, pa.table(arrays, schema=schema), kind)
