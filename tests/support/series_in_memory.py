"""Runs that are made in memory, for what needs no log: steps, one device, marks."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.runs.catalogue import Run

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND

Floats = NDArray[np.float64]


def at_ns(seconds: Floats) -> NDArray[np.int64]:
    """Return times in ns, given seconds since the start of the run."""
    return START + np.round(np.asarray(seconds) * SECOND).astype(np.int64)


def series_of(
    step_s: Floats,
    steps: dict[str, Any],
    sample_s: Floats,
    samples: dict[str, Any],
    marks: dict[str, Floats] | None = None,
) -> RunSeries:
    """Return a run of these steps, samples of "gpu0" and marks (seconds by kind)."""
    columns = dict.fromkeys(("epoch", "loss", "grad_norm", "learning_rate", "step_time_s", "tokens"))
    nothing = {name: pa.nulls(len(step_s), pa.float64()) for name in columns}
    numbers = {"step": np.arange(1, len(step_s) + 1), "rank": np.zeros(len(step_s), dtype=np.int64)}
    table = pa.table({"time_ns": at_ns(step_s)} | numbers | nothing | steps)
    device = Device("gpu0", {}, pa.table({"time_ns": at_ns(sample_s)} | samples))
    made = [
        {"mark": kind, "time_ns": int(time_ns)}
        for kind, seconds in (marks or {}).items()
        for time_ns in at_ns(seconds)
    ]
    return RunSeries(Run(Path("in-memory")), table, {"gpu0": device}, [], made)
