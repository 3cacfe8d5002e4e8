"""What in a run's data makes its analysis doubtful: clocks, idle devices, repeated trainings."""

import numpy as np
import pyarrow as pa
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.coupling.verdict import is_idle, is_unmoved
from thermograd.analysis.run.series import Device, RunSeries, one_by_one
from thermograd.store.clocks.hosts import RunClocks
from thermograd.store.clocks.telling import clock_lines as host_clock_lines
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.telling.columns import signal


def _same_training_as(data: RunSeries) -> list[str]:
    """Return other runs of the directory whose recorded step series is identical to this run's."""
    own = data.run.facts.get("import", {}).get("step_series_sha256")
    if not own:
        return []
    others = [run for run in list_runs(data.run.path.parent) if run.run_id != data.run.run_id]
    return [run.run_id for run in others if run.facts.get("import", {}).get("step_series_sha256") == own]


def recorded_losses(data: RunSeries) -> tuple[Floats, Floats]:
    """Return the losses that were recorded, NaN and infinity among them, and their steps, NaN if unknown."""
    known = np.asarray(data.steps.column("loss").is_valid())
    return data.training("loss")[known], data.training("step")[known]


def lost_loss(data: RunSeries, of_the_run: bool = False) -> str:
    """Return since when the loss is no finite number; empty where the last one is finite.

    As the end of a sentence about numbers, or else, `of_the_run`, as a sentence of its own.
    """
    loss, step = recorded_losses(data)
    if not loss.size or np.isfinite(loss[-1]):
        return ""
    finite = np.flatnonzero(np.isfinite(loss))
    how, since = "never", ""
    if finite.size:
        last = int(finite[-1])
        how, since = (
            "not",
            f" since {_step(step, last + 1)} (last finite {loss[last]:.4g} at {_step(step, last)})",
        )
    return (
        f"The loss has {how} been a finite number{since}." if of_the_run else f"{how} a finite number{since}"
    )


def _step(steps: Floats, place: int) -> str:
    return f"step {steps[place]:,.0f}" if np.isfinite(steps[place]) else f"the loss of place {place + 1:,}"


def warnings_for(data: RunSeries, devices: list[Device]) -> list[str]:
    """Return in sentences what is wrong with a run's data, whatever the statistics find."""
    warnings = [text] if (text := lost_loss(data, of_the_run=True)) else []
    warnings += _unknown_clocks(data, devices)
    if twins := _same_training_as(data):
        warnings.append(
            f"The step series is identical to that of {', '.join(twins)}, to the last bit: "
            "one training, not a replication."
        )
    for kind, word in (("step", "steps"), ("sample", "devices")):
        if estimated := data.run.facts.get("import", {}).get(f"{kind}_times_estimated"):
            warnings.append(f"The times of the {word} are {estimated}. No lag is more exact than that.")
    for device in one_by_one(devices):
        warnings += [f"{device.label}: {text}" for text in _device_warnings(data, device)]
    if any(device.simulated for device in devices):
        names = ", ".join(device.label for device in devices if device.simulated)
        warnings.append(f"{names}: simulated; its numbers say nothing about real hardware.")
    return warnings


def _device_warnings(data: RunSeries, device: Device) -> list[str]:
    warnings = [f"{name}: {reason}." for name, reason in device.facts.get("suspect", {}).items()]
    warnings += _idle(data, device)
    temperature = device.signal("temperature_c")
    if temperature is None:
        return warnings
    levels = np.unique(temperature[np.isfinite(temperature)])
    if 1 < levels.size <= 12 and np.all(levels == np.round(levels)):
        warnings.append(
            f"temperature_c moves in steps of 1 degC ({levels.size} levels); this about halves the power."
        )
    if data.step_time_ns.size and device.time_ns.size:
        at_steps = np.interp(data.step_time_ns, device.time_ns, temperature)
        trend = naive_pearson(data.step_time_ns.astype(np.float64) / 1e9, at_steps)
        if abs(trend) > 0.5:
            warnings.append(
                f"temperature_c follows time alone with r = {trend:+.2f}: any other trend will seem coupled."
            )
    return warnings


def _idle(data: RunSeries, device: Device) -> list[str]:
    """Return the loads of a device that did not rise, while training and around it (see `is_idle`)."""
    loads = data.loads(device)
    if not is_unmoved(loads):
        return []
    unknown = "as busy around the training, so whether it did it is not known"
    what = "not doing the training" if is_idle(loads) else unknown
    parts = []
    for name, parts_of_run in loads.items():
        busy, rest = (part[np.isfinite(part)] for part in parts_of_run)
        if busy.size and rest.size:
            during, around = (f"{np.median(part):.3g} {signal(name).unit}" for part in (busy, rest))
            parts.append(f"{name} {during} while training, {around} before and after")
    return [f"it was {what}: {'; '.join(parts)}."]


_RESOLUTIONS_NS = ((10**9, "1 s"), (10**6, "1 ms"), (10**3, "1 µs"))


def clock_lines(data: RunSeries) -> list[str]:
    """Return how uncertain the times of steps and samples are against each other; empty for no event.

    A recorded run has both clocks in every event: while the wall clock is slewed or set, its distance to the
    monotonic clock of the same process changes, by as much as times of that process can be wrong. An
    imported log has the wall clock alone, as fine as its times are written.
    """
    tables = [("steps", data.steps), *((name, device.table) for name, device in data.devices.items())]
    known = [(name, table) for name, table in tables if table.num_rows]
    if not known:
        return []
    state = data.run.state()
    if data.clocks is not None:
        return [
            _on_hosts(data.clocks),
            *(line[0].upper() + line[1:] for line in host_clock_lines(data.clocks)),
        ]
    if state == "simulated":
        return ["Clocks: simulated, so steps and samples share one by construction."]
    if state == "imported":
        told = ", ".join(f"{name} {_resolution(_column(table, 'time_ns'))}" for name, table in known)
        return [
            f"Clocks: imported, wall time only, written as finely as: {told}. How true the logger's clocks "
            "were is not known."
        ]
    slewed = max(_slewed_ns(table) for _, table in known) / 1e6
    return [
        f"Clocks: the wall clock moved by at most {slewed:.3g} ms against the monotonic clock in this run, "
        "so lags on one host are as sure as that; between hosts they are as sure as their time service."
    ]


def _on_hosts(clocks: RunClocks) -> str:
    return (
        f"Clocks: this run was written on {1 + len(clocks.hosts)} hosts. The clock of {clocks.reference}, "
        "whose steps are taken, counts as right; times of the others are set right by the step ends of their "
        "ranks, which end together. How sure that is widens every lag between two hosts."
    )


def _unknown_clocks(data: RunSeries, devices: list[Device]) -> list[str]:
    """Return for each reason which hosts' lags cannot be told because their clocks are not known."""
    hosts: dict[str, dict[str, None]] = {}
    for device in devices:
        if device.clock is not None and device.clock.offset_s is None:
            hosts.setdefault(str(device.clock.reason), {})[device.clock.host] = None
    reference = "" if data.clocks is None else data.clocks.reference
    return [
        f"The clocks of {', '.join(names)} could not be compared with that of {reference} ({reason}): lags "
        "of their devices are as wrong as those clocks."
        for reason, names in hosts.items()
    ]


def _column(table: pa.Table, name: str) -> Times:
    return np.asarray(table.column(name), dtype=np.int64)


def _slewed_ns(table: pa.Table) -> int:
    """Return how far the wall clock moved against the monotonic one; a restarted machine begins anew."""
    monotonic_ns = _column(table, "monotonic_ns")
    apart = _column(table, "time_ns") - monotonic_ns
    boots = np.split(apart, np.flatnonzero(np.diff(monotonic_ns) < 0) + 1)
    return max(int(np.ptp(boot)) for boot in boots)


def _resolution(time_ns: Times) -> str:
    return next((text for unit, text in _RESOLUTIONS_NS if not (time_ns % unit).any()), "below 1 µs")
