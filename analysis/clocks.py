"""How far the times of a run can be trusted, in sentences for the report."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.analysis.run.series import RunSeries

_RESOLUTIONS_NS = ((10**9, "1 s"), (10**6, "1 ms"), (10**3, "1 µs"))


def clock_lines(data: RunSeries) -> list[str]:
    """Say how uncertain the times of steps and samples are against each other; empty for no event.

    A recorded run has both clocks in every event: while the wall clock is slewed or set, its distance to the
    monotonic clock of the same process changes, by as much as times of that process can be wrong. An
    imported log has the wall clock alone, as fine as its times are written.
    """
    tables = [("steps", data.steps), *((name, device.table) for name, device in data.devices.items())]
    known = [(name, table) for name, table in tables if table.num_rows]
    if not known:
        return []
    state = data.run.state()
    if state == "simulated":
        return ["Clocks: simulated, so steps and samples share one by construction."]
    if state == "imported":
        texts = {name: _resolution(_column(table, "time_ns")) for name, table in known}
        told = ", ".join(f"{name} {text}" for name, text in texts.items())
        return [
            f"Clocks: imported, wall time only, written as finely as: {told}. How true the logger's clocks "
            "were is not known."
        ]
    slewed = max(_slewed_ns(table) for _, table in known) / 1e6
    return [
        f"Clocks: the wall clock moved by at most {slewed:.3g} ms against the monotonic clock in this run, "
        "so lags on one host are as sure as that; between hosts they are as sure as their time service."
    ]


def _column(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table.column(name), dtype=np.int64)


def _slewed_ns(table: pa.Table) -> int:
    """Return how far the wall clock moved against the monotonic one; a restarted machine begins anew."""
    monotonic_ns = _column(table, "monotonic_ns")
    apart = _column(table, "time_ns") - monotonic_ns
    boots = np.split(apart, np.flatnonzero(np.diff(monotonic_ns) < 0) + 1)
    return max(int(np.ptp(boot)) for boot in boots)


def _resolution(time_ns: NDArray[np.int64]) -> str:
    return next((text for unit, text in _RESOLUTIONS_NS if not (time_ns % unit).any()), "below 1 µs")
