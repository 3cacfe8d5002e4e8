"""What a page tells of the run: what it was, on what, its alerts, energy, and the quality of its data."""

import json
from dataclasses import replace
from typing import Any

from thermograd.analysis.display.markup import Html, breakable, element, escape
from thermograd.analysis.display.numbers import DASH
from thermograd.analysis.display.table import MOST_ROWS, Table
from thermograd.analysis.report.data.hardware import missing_reason
from thermograd.analysis.report.wording import loss_text, steps_text
from thermograd.analysis.run.energy import DeviceEnergy, energy_doubt, run_energy
from thermograd.analysis.run.readings.data_quality import clock_lines
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.events import SETTINGS_MARK
from thermograd.store.runs.describe import by_reason
from thermograd.store.telling.devices import device_labels
from thermograd.store.telling.quantities import (
    counted,
    duration_text,
    elapsed_text,
    energy_text,
    moment_text as utc_text,
)
from thermograd.store.telling.silences import silence_of

_IN_LOG, _LACKS = "Name in the log", "Does not measure (or not credibly), and why"
_DEVICE_COLUMNS = {
    **{"Device": "i", _IN_LOG: "i", "Model": "i", "Measures": "w"},
    **{_LACKS: "w", "Samples": "n"},
}
_MOST_ENERGIES = 4  # devices, before the others are folded away
_FEW_DEVICES = 3  # that a row of alike ones names
_FOR_REPLAYS = (SETTINGS_MARK, "what the stream layer left out as too late")  # texts of marks
_MOST_INCIDENTS = 50
_SLOW_HZ = 0.1  # below which people count the time between two
_OF_NO_DEVICE = ("read_us", "reported_rle", "reported_collapse")
_NO_READING = ("seq", "time_ns", "monotonic_ns", "device", "writer", "read_us")
_ACCOUNT = {
    "joined": "step{s} (times devices) joined to a sample while running",
    "unmatched": "step{s} without a sample in reach",
    "late": "event{s} later than the stream layer waits",
    "ticks": "reading{s} of all devices",
    "missed_ticks": "sampling tick{s} missed",
    "failed_reads": "reading{s} that failed",
    "late_p50_ms": "ms late in the middle",
    "late_p95_ms": "ms late at the 95th percentile",
    "late_max_ms": "ms late at most",
    "longest_read_ms": "ms for the longest reading",
    "cpu_s": "s of processor time",
    "rss_mib": "MiB of memory",
    "cpu_stalled_s": "s in which something on this machine waited for a processor",
    "memory_stalled_s": "s in which it waited for memory",
    "io_stalled_s": "s in which it waited for storage",
    "lost": "event{s} that could not be written",
    "unread_steps": "step{s} that could not be read",
}


def run_facts(data: RunSeries, end_s: float) -> dict[str, str]:
    """Return what was run by what each fact is called, empty where it is not known."""
    loss = loss_text(data)
    return {
        "Run id": data.run.run_id,
        "Started": moment_text(data.run.started_time_ns),
        "Model": _model(data.run.facts.get("model")),
        "Training": (steps_text(data) or "no training step was recorded") + (loss and f"; loss from {loss}"),
        "Recorded": _recorded(data, end_s),
        "Software": _software(data.run.facts),
    }


def moment_text(time_ns: int | None) -> str:
    """Return a time, UTC epoch ns, as date and clock; empty where it is not known."""
    return "" if time_ns is None else f"{utc_text(time_ns)} UTC"


def _model(model: Any) -> str:
    if not isinstance(model, dict):
        return "" if model is None else str(model)
    parameters = model.get("parameters")
    size = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
    return f"{model.get('class') or 'class not recorded'}{size}"


def _recorded(data: RunSeries, end_s: float) -> str:
    samples = sum(device.time_ns.size for device in data.devices.values())
    if not samples and not data.step_time_ns.size:
        return "nothing: the run holds no step and no sample"
    hz = data.run.facts.get("sampling_hz")
    rate = _rate(hz) if isinstance(hz, int | float) and 0 < hz < float("inf") else ""
    devices = counted(len(data.devices), "device")
    told = counted(len(data.alerts), "alert") if data.watched else "not watched for alerts"
    return f"{duration_text(end_s)}; {counted(samples, 'sample')}{rate} of {devices}, {told}"


def _rate(hz: float) -> str:
    return f" at {hz:.3g} Hz" if hz >= _SLOW_HZ else f", one every {duration_text(1 / hz)},"


def _software(facts: dict[str, Any]) -> str:
    versions = facts.get("versions")
    known = dict(versions) if isinstance(versions, dict) else {}
    parts = [f"{name} {known[name]}" for name in ("torch", "transformers", "lightning") if known.get(name)]
    if facts.get("python"):
        parts.append(f"Python {facts['python']}")
    git = facts.get("git")
    if isinstance(git, dict) and git.get("commit"):
        parts.append(f"git {str(git['commit'])[:10]}{' with local changes' * bool(git.get('dirty'))}")
    return ", ".join(parts)


def devices_table(data: RunSeries) -> Table:
    """Return what each device measured, and why not the rest; devices that were silent stand last."""
    known = data.run.facts.get("devices")
    facts = known if isinstance(known, dict) else {}
    rows = [_device_row(device) for device in data.devices.values()]
    rows += [
        (label, name, facts[name].get("model") or "", DASH, "no sample was recorded", "0")
        for name, label in device_labels(facts).items()
        if name not in data.devices
    ]
    table = Table(_DEVICE_COLUMNS, rows, "Devices", shown=None)
    is_told = all(name == device.label for name, device in data.devices.items())
    return table.without(_IN_LOG) if is_told else table


def devices_in_groups(every: Table) -> Table:
    """Return the table of devices with those that measure alike in one row; itself where none do."""
    alike: dict[tuple[Any, ...], list[Any]] = {}
    places = [place for place, name in enumerate(every.columns) if name not in ("Device", _IN_LOG)]
    for row in every.rows:
        alike.setdefault(tuple(str(row[place]) for place in places), []).append(row)
    if len(alike) == len(every.rows):
        return every
    table = every.without(_IN_LOG) if _IN_LOG in every.columns else every
    rows = [
        (_named([row[0] for row in group]), *(group[0][place] for place in places))
        for group in alike.values()
    ]
    return replace(table, rows=rows, shown=MOST_ROWS)


def lacking(devices: Table) -> Table:
    """Return of the table of devices what each does not measure, and why; no row where that is nothing."""
    columns = list(devices.columns)
    kept = [columns.index("Device"), columns.index(_LACKS)]
    rows = [tuple(row[place] for place in kept) for row in devices.rows if str(row[kept[1]]) != DASH]
    named = {columns[place]: devices.columns[columns[place]] for place in kept}
    return replace(devices, columns=named, rows=rows, label="What is not measured")


def measuring(devices: Table) -> Table:
    """Return the table of devices without what they do not measure."""
    return devices.without(_LACKS)


def _named(labels: list[Any]) -> Any:
    """Return the names of alike devices, of many the first and the last."""
    if len(labels) == 1:
        return labels[0]
    shown = labels if len(labels) <= _FEW_DEVICES else [labels[0], "…", labels[-1]]
    counted_here = [f"{len(labels)} alike:"] if len(labels) > _FEW_DEVICES else []
    return Html("<br>".join(map(escape, [*counted_here, *shown])))


def _device_row(device: Device) -> tuple[Any, ...]:
    measured = [name.removesuffix("_") for name in device.table.column_names if name not in _NO_READING]
    present = [name for name in measured if _holds_values(device.table.column(name))]
    name = element("strong", breakable(device.label)) if device.simulated else device.label
    model = str(device.facts.get("model") or "not recorded")
    told = ", ".join(present) or "nothing"
    return name, device.name, model, told, _missing(device), f"{device.time_ns.size:,}"


def _holds_values(column: Any) -> bool:
    """Whether a column holds anything but missing readings and NaN."""
    known = column.drop_null()
    return any(value == value for value in known.unique().to_pylist())  # NaN differs from itself


def _missing(device: Device) -> Html:
    missing, suspect = device.facts.get("missing"), device.facts.get("suspect")
    lines: list[str] = []
    if isinstance(missing, dict):
        told = {sensor: reason for sensor, reason in missing.items() if sensor not in _OF_NO_DEVICE}
        lines = [f"{sensors}: {reason}" for reason, sensors in by_reason(told)]
    elif isinstance(missing, list) and missing:
        source = "simulation" if device.simulated else "log"
        lines = [f"{', '.join(map(str, missing))}: not part of the {source}"]
    if isinstance(suspect, dict):
        lines += [f"{sensor}: {reason}" for sensor, reason in suspect.items()]
    return Html("<br>".join(map(escape, lines))) if lines else escape(DASH)


# -- what was seen and what was missed -------------------------------------------------------------


def quality_told(data: RunSeries, origin_ns: int) -> dict[str, Any]:
    """Return what was lost or is doubtful: the log's own notes, the import, the clocks, gaps and errors."""
    notes = [
        (str(mark["text"] or "note"), _detail(mark["detail"]))
        for mark in data.marks
        if mark["mark"] == "note" and mark["detail"] and mark["text"] not in _FOR_REPLAYS
    ]
    imported = data.run.facts.get("import")
    incidents = [
        mark for mark in data.marks if mark["mark"] in ("gap", "error", "clock") and not _is_told(mark)
    ]
    return {
        "notes_of_log": notes,
        "imported": imported if isinstance(imported, dict) else None,
        "clocks": clock_lines(data),
        "incidents": [_incident(mark, origin_ns) for mark in incidents[:_MOST_INCIDENTS]],
        "more_incidents": len(incidents[_MOST_INCIDENTS:]),
    }


def _is_told(mark: dict[str, Any]) -> bool:
    """Return whether a mark is no incident: a clock's state or offset, or a silence, which is an alert."""
    if silence_of(mark) is not None:
        return True
    return mark["mark"] == "clock" and str(mark["detail"] or "").startswith(('{"ntp"', '{"offset"'))


def _detail(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return text[:300]
    numbers = {name: item for name, item in value.items() if not isinstance(item, list | dict)}
    return ", ".join(_counted(name, item) for name, item in numbers.items())[:500]


def _counted(name: str, value: Any) -> str:
    """Return a number of an account with what it counts, in the plural where that is due."""
    text = _ACCOUNT.get(name, name)
    one, many = text.replace("{s}", ""), text.replace("{s}", "s")
    return counted(value, one, many) if isinstance(value, int) else f"{_count(value)} {many}"


def _count(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _incident(mark: dict[str, Any], origin_ns: int) -> str:
    moment = elapsed_text((mark["time_ns"] - origin_ns) / 1e9)
    return f"{mark['mark']} at {moment}: {mark['text'] or _detail(mark['detail'] or '')}"


# -- energy ----------------------------------------------------------------------------------------


def energy_told(data: RunSeries) -> dict[str, Any]:
    """Return the energy of each device over training and per step, and what is doubtful or not known."""
    found = run_energy(data)
    doubts = [
        f"{data.devices[energy.device].label}: power_w is {doubt}, so its energy is no measurement."
        for energy in found
        if (doubt := energy_doubt(data, energy))
    ]
    known = {energy.device for energy in found}
    absent = [
        f"{device.label}: not known, no power sensor"
        + (f" ({reason})" if (reason := missing_reason(device, "power_w")) else "")
        for name, device in data.devices.items()
        if name not in known
    ]
    columns = {
        **{"Device": "i", "From": "t", "Whole recording": "n", "Training": "n", "Per step": "n"},
        **{"Middle 90 % of steps": "n", "n steps": "n", "Covered": "n"},
    }
    rows = [_energy_row(data, energy) for energy in found]
    table = Table(columns, rows, "Energy by device", shown=_MOST_ENERGIES)
    return {"energy": table, "energy_notes": [*doubts, *absent]}


def _energy_row(data: RunSeries, energy: DeviceEnergy) -> tuple[str, ...]:
    low, high = energy.low_per_step_j, energy.high_per_step_j
    return (
        data.devices[energy.device].label,
        energy.source,
        *map(energy_text, (energy.total_j, energy.training_j, energy.mean_per_step_j)),
        DASH if low is None or high is None else f"{energy_text(low)} to {energy_text(high)}",
        f"{energy.steps:,}",
        DASH if energy.covered_ratio is None else f"{100 * energy.covered_ratio:.1f} %",
    )
