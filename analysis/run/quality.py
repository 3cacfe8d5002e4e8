"""What in a run's data makes its analysis doubtful: clocks, idle devices, repeated trainings."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.runs.catalogue import list_runs


def same_training_as(data: RunSeries) -> list[str]:
    """Return other runs of the directory whose recorded step series is identical to this run's."""
    own = data.run.facts.get("import", {}).get("step_series_sha256")
    if not own:
        return []
    others = [run for run in list_runs(data.run.path.parent) if run.run_id != data.run.run_id]
    return [run.run_id for run in others if run.facts.get("import", {}).get("step_series_sha256") == own]


def warnings_for(data: RunSeries, devices: list[Device]) -> list[str]:
    """Say in sentences what is wrong with a run's data, whatever the statistics find."""
    warnings = []
    twins = same_training_as(data)
    if twins:
        warnings.append(
            f"The step series is identical to that of {', '.join(twins)}, to the last bit: "
            "one training, not a replication."
        )
    estimated = data.run.facts.get("import", {}).get("step_times_estimated")
    if estimated:
        warnings.append(f"The times of the steps are {estimated}. No lag is more exact than that.")
    for device in devices:
        warnings += [f"{device.name}: {text}" for text in _device_warnings(data, device)]
    if any(device.simulated for device in devices):
        names = ", ".join(device.name for device in devices if device.simulated)
        warnings.append(f"{names}: simulated; its numbers say nothing about real hardware.")
    return warnings


def _device_warnings(data: RunSeries, device: Device) -> list[str]:
    warnings = [f"{name}: {reason}." for name, reason in device.facts.get("suspect", {}).items()]
    warnings += _idle(data, device)
    temperature = device.signal("temperature_c")
    if temperature is None:
        return warnings
    known = temperature[np.isfinite(temperature)]
    levels = np.unique(known)
    if 1 < levels.size <= 12 and np.all(levels == np.round(levels)):
        text = f"temperature_c moves in steps of 1 degC ({levels.size} levels); this about halves the power."
        warnings.append(text)
    if data.step_time_ns.size and device.time_ns.size:
        at_steps = np.interp(data.step_time_ns, device.time_ns, temperature)
        trend = naive_pearson(data.step_time_ns.astype(np.float64) / 1e9, at_steps)
        if abs(trend) > 0.5:
            text = (
                f"temperature_c follows time alone with r = {trend:+.2f}: any other trend will seem coupled."
            )
            warnings.append(text)
    return warnings


def _idle(data: RunSeries, device: Device) -> list[str]:
    """Say whether the device's load did not differ between training and the minute around it."""
    if not data.step_time_ns.size:
        return []
    first, last = data.step_time_ns[0], data.step_time_ns[-1]
    during = (device.time_ns >= first) & (device.time_ns <= last)
    around = ~during & (np.abs(device.time_ns - (first + last) // 2) <= (last - first) // 2 + 60 * 10**9)
    parts = []
    for name, unit in (("power_w", "W"), ("utilization_pct", "%")):
        values = device.signal(name)
        if values is None or during.sum() < 10 or around.sum() < 10 or np.ptp(values) == 0:
            continue
        busy, rest = float(np.nanmedian(values[during])), float(np.nanmedian(values[around]))
        spread = float(np.nanstd(values))
        if busy - rest > max(0.5 * spread, 0.05 * abs(rest)):
            return []
        parts.append(f"{name} {busy:.3g} {unit} while training, {rest:.3g} {unit} before and after")
    return [f"it was not doing the training: {'; '.join(parts)}."] if parts else []


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
