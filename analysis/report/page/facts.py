"""Parts of the report about the run: what it was, on what, its alerts, the quality of its data."""

import json
import shlex
from datetime import UTC, datetime
from typing import Any

from thermograd.analysis.display.markup import Html, breakable, element, escape, items, table
from thermograd.analysis.display.numbers import duration_text, energy_text
from thermograd.analysis.report.data.hardware import device_label, missing_reason
from thermograd.analysis.report.data.marks import SEVERITIES, onset_ns, severity_rank
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.run.energy import DeviceEnergy, energy_doubt, run_energy
from thermograd.analysis.run.quality import clock_lines
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.events import SETTINGS_MARK

_MOST_ALERTS = 300
_FOR_REPLAYS = (SETTINGS_MARK, "what the stream layer left out as too late")  # texts of marks
_MOST_INCIDENTS = 50
_DASH = "–"
_OF_NO_DEVICE = ("read_us", "reported_rle", "reported_collapse")
_ACCOUNT = {
    "joined": "steps (times devices) joined to a sample while running",
    "unmatched": "steps without a sample in reach",
    "late": "events later than the stream layer waits",
    "ticks": "readings of all devices",
    "missed_ticks": "sampling ticks missed",
    "failed_reads": "readings that failed",
    "late_p50_ms": "ms late in the middle",
    "late_p95_ms": "ms late at the 95th percentile",
    "late_max_ms": "ms late at most",
    "longest_read_ms": "ms for the longest reading",
    "cpu_s": "s of processor time",
    "rss_mib": "MiB of memory",
    "cpu_stalled_s": "s in which something on this machine waited for a processor",
    "memory_stalled_s": "s in which it waited for memory",
    "io_stalled_s": "s in which it waited for storage",
    "lost": "events that could not be written",
    "unread_steps": "steps that could not be read",
}


def facts_section(data: RunSeries, panels: Panels) -> Html:
    """Return what was run, on what, and which sensors there are."""
    facts = data.run.facts
    rows = [
        ("Run id", data.run.run_id),
        ("Started", _moment(data.run.started_time_ns)),
        ("Model", _model(facts)),
        ("Training", _training(data)),
        ("Recorded", _recorded(data, panels)),
        ("Software", _software(facts)),
    ]
    whole = element("table", *[_fact(name, value) for name, value in rows if value], class_="facts")
    return Html(element("h2", "The run", id="run") + whole + element("h3", "Devices") + _devices(data))


def _fact(name: str, value: Any) -> Html:
    return element("tr", element("th", name, scope="row"), element("td", value))


def _moment(time_ns: int | None) -> str:
    if time_ns is None:
        return ""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _model(facts: dict[str, Any]) -> str:
    model = facts.get("model")
    if not isinstance(model, dict):
        return "" if model is None else str(model)
    parameters = model.get("parameters")
    size = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
    return f"{model.get('class') or 'class not recorded'}{size}"


def _training(data: RunSeries) -> str:
    count = data.step_time_ns.size
    if not count:
        return "no training step was recorded"
    seconds = (int(data.step_time_ns[-1]) - int(data.step_time_ns[0])) / 1e9
    text = f"{count:,} steps in {duration_text(seconds)}" if count > 1 else "1 step"
    loss = data.training("loss")
    known = loss[loss == loss]  # not NaN; infinite is what happened
    return f"{text}; loss from {known[0]:.4g} to {known[-1]:.4g}" if known.size > 1 else text


def _recorded(data: RunSeries, panels: Panels) -> str:
    samples = sum(device.time_ns.size for device in data.devices.values())
    if not samples and not data.step_time_ns.size:
        return "nothing: the run holds no step and no sample"
    hz = data.run.facts.get("sampling_hz")
    rate = f" at {hz:g} Hz" if isinstance(hz, int | float) else ""
    alerts = (
        f"{len(data.alerts):,} alert{'s' * (len(data.alerts) != 1)}"
        if data.watched
        else "not watched for alerts"
    )
    return (
        f"{duration_text(panels.end_s)}; {samples:,} samples{rate} of {len(data.devices)} "
        f"device{'s' * (len(data.devices) != 1)}, {alerts}"
    )


def _software(facts: dict[str, Any]) -> str:
    versions = facts.get("versions")
    known = dict(versions) if isinstance(versions, dict) else {}
    parts = [f"{name} {known[name]}" for name in ("torch", "transformers", "lightning") if known.get(name)]
    parts += [f"Python {facts['python']}"] * bool(facts.get("python"))
    git = facts.get("git")
    if isinstance(git, dict) and git.get("commit"):
        parts.append(f"git {str(git['commit'])[:10]}{' with local changes' * bool(git.get('dirty'))}")
    return ", ".join(parts)


def _devices(data: RunSeries) -> Html:
    known = data.run.facts.get("devices")
    facts = known if isinstance(known, dict) else {}
    silent = [name for name in facts if name not in data.devices]
    rows = [_device_row(device) for device in data.devices.values()]
    rows += [(name, facts[name].get("model") or "", _DASH, "no sample was recorded", "0") for name in silent]
    absent = data.run.facts.get("devices_absent")
    notes = [f"No {vendor} device: {why}" for vendor, why in (absent or {}).items()]
    if not rows:
        return Html(element("p", "No device was sampled.", class_="empty") + items(notes, class_="plain"))
    names = ("Device", "Model", "Measures", "Does not measure (or not credibly), and why", "Samples")
    return Html(table(names, rows, "iiwwn", "Devices", stack=True) + items(notes, class_="note plain"))


def _device_row(device: Device) -> tuple[Any, ...]:
    hidden = ("seq", "time_ns", "monotonic_ns", "device", "writer", "read_us")
    measured = [c.removesuffix("_") for c in device.table.column_names if c not in hidden]
    present = [name for name in measured if _holds_values(device.table.column(name))]
    name = element("strong", breakable(device_label(device))) if device.simulated else device_label(device)
    model = str(device.facts.get("model") or "not recorded")
    return name, model, ", ".join(present) or "nothing", _missing(device), f"{device.time_ns.size:,}"


def _holds_values(column: Any) -> bool:
    """Whether a column holds anything but missing readings and NaN."""
    known = column.drop_null()
    return any(value == value for value in known.unique().to_pylist())  # NaN differs from itself


def _missing(device: Device) -> Html:
    missing = device.facts.get("missing")
    lines: list[str] = []
    if isinstance(missing, dict):
        by_reason: dict[str, list[str]] = {}
        for sensor, reason in missing.items():
            if sensor in _OF_NO_DEVICE:
                continue
            by_reason.setdefault(str(reason), []).append(str(sensor))
        lines = [f"{', '.join(sensors)}: {reason}" for reason, sensors in by_reason.items()]
    elif isinstance(missing, list) and missing:
        lines = [
            f"{', '.join(map(str, missing))}: not part of the {'simulation' if device.simulated else 'log'}"
        ]
    suspect = device.facts.get("suspect")
    if isinstance(suspect, dict):
        lines += [f"{sensor}: {reason}" for sensor, reason in suspect.items()]
    return Html("<br>".join(map(escape, lines))) if lines else escape(_DASH)


# -- what was seen and what was missed -------------------------------------------------------------


_ALERT_COLUMNS = (
    ("Time,\u00a0s", "n"),
    ("Severity", "t"),
    ("Alert", "t"),
    ("Step", "n"),
    ("Device", "i"),
    ("Message", "w"),
)
_DEVICE_PLACE = 4


def alerts_section(data: RunSeries, origin_ns: int) -> Html:
    """Return the alerts raised while the run was recorded."""
    title = element("h2", "Alerts", id="alerts")
    if not data.alerts:
        replay = element("code", f"thermograd replay {shlex.quote(data.run.run_id)}")
        told = (
            ("None was raised.",)
            if data.watched
            else ("None recorded: nothing watched this run. ", replay, " shows what it would have raised.")
        )
        return Html(title + element("p", *told, class_="empty"))
    shown = sorted(data.alerts, key=severity_rank)[:_MOST_ALERTS]
    shown.sort(key=onset_ns)
    rows = [_alert_row(alert, origin_ns) for alert in shown]
    columns = [*_ALERT_COLUMNS]
    if not any(alert["device"] for alert in shown):  # of the training alone: no empty column
        columns.pop(_DEVICE_PLACE)
        rows = [row[:_DEVICE_PLACE] + row[_DEVICE_PLACE + 1 :] for row in rows]
    names, kinds = zip(*columns, strict=True)
    more = len(data.alerts) - len(shown)
    note = f"The {len(shown)} most severe; {more:,} more are in the log." if more else ""
    return Html(
        title + table(names, rows, "".join(kinds), "Alerts", stack=True) + element("p", note, class_="note")
    )


def _alert_row(alert: dict[str, Any], origin_ns: int) -> tuple[Any, ...]:
    severity = str(alert["severity"])
    known = severity if severity in SEVERITIES else ""
    return (
        _time_link((onset_ns(alert) - origin_ns) / 1e9),
        element("span", severity, class_=known),
        alert["alert"],
        _DASH if alert["step"] is None else f"{alert['step']:,}",
        alert["device"] or _DASH,
        alert["message"] or "",
    )


def _time_link(seconds: float) -> Html:
    """Return a time that shows itself in the timeline when it is chosen."""
    return element("a", f"{seconds:,.2f}", href="#timeline", data_time=f"{seconds:.3f}")


def data_section(data: RunSeries, analysis: Analysis, origin_ns: int) -> Html:
    """Return what was matched, left out, lost or doubtful."""
    account = analysis.alignment
    lines: list[str] = []
    if account["steps"] and data.devices:
        lines.append(
            f"{account['matched']:,} of {account['steps']:,} steps have a sample within "
            f"{account['tolerance_s']:g} s on the device that has the fewest; {account['unmatched']:,} "
            "have none."
        )
        by_device = account.get("matched_by_device", {})
        if len(set(by_device.values())) > 1:
            lines.append("By device: " + ", ".join(f"{name} {count:,}" for name, count in by_device.items()))
    lines += [f"{count:,} steps left out: {reason}." for reason, count in account["dropped"].items()]
    lines += _accounts(data)
    lines += _imported(data)
    lines += clock_lines(data)
    lines += analysis.warnings
    incidents = [m for m in data.marks if m["mark"] in ("gap", "error", "clock")]
    lines += [_incident(mark, origin_ns) for mark in incidents[:_MOST_INCIDENTS]]
    if len(incidents) > _MOST_INCIDENTS:
        lines.append(f"{len(incidents) - _MOST_INCIDENTS:,} more gaps and errors are in the log.")
    if not incidents:
        lines.append("No gap, error or clock step was recorded.")
    return Html(element("h2", "Quality of the data", id="data") + items(lines, class_="plain"))


def _accounts(data: RunSeries) -> list[str]:
    """Return the agent's and the stream layer's own accounts, one line each."""
    return [
        f"{_sentence(str(mark['text'] or 'note'))}: {_detail(mark['detail'])}."
        for mark in data.marks
        if mark["mark"] == "note" and mark["detail"] and mark["text"] not in _FOR_REPLAYS
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _detail(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return text[:300]
    numbers = {name: item for name, item in value.items() if not isinstance(item, list | dict)}
    return ", ".join(f"{_count(item)} {_ACCOUNT.get(name, name)}" for name, item in numbers.items())[:500]


def _count(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _incident(mark: dict[str, Any], origin_ns: int) -> str:
    seconds = (mark["time_ns"] - origin_ns) / 1e9
    return f"{mark['mark']} at {seconds:,.1f} s: {mark['text'] or _detail(mark['detail'] or '')}"


def _imported(data: RunSeries) -> list[str]:
    facts = data.run.facts.get("import")
    if not isinstance(facts, dict):
        return []
    lines = [f"Imported from {file.get('name')} ({file.get('format')})." for file in facts.get("files", [])]
    lines += [f"{count:,} rows left out: {reason}." for reason, count in facts.get("left_out", {}).items()]
    if facts.get("out_of_order"):
        lines.append(f"{facts['out_of_order']:,} rows came out of order in time.")
    return [*lines, f"Times: {facts.get('timezone')}."]


def energy_section(data: RunSeries) -> Html:
    """Return the energy of each device over the training and per step, and where it is from."""
    title = element("h2", "Energy", id="energy")
    found = run_energy(data)
    if not found:
        why = (
            "no device was sampled"
            if not data.devices
            else "no device has an energy counter or a power sensor"
        )
        return Html(title + element("p", f"Not known: {why} in this run.", class_="empty"))
    rows = [_row(data, energy) for energy in found]
    names = (
        "Device",
        "From",
        "Whole recording",
        "Training",
        "Per step",
        "Middle 90 % of steps",
        "n steps",
        "Covered",
    )
    text = (
        "Joules of the whole device, not of the training alone. Per step: the training's energy over "
        "its steps; "
        "the middle 90 % are the steps' own energies, between their 5th and 95th percentile. "
        "Covered: share of "
        "the training in which readings tell the energy; the rest counts as none."
    )
    known = {energy.device for energy in found}
    absent = [
        f"{device_label(device)}: not known, no power sensor"
        + (f" ({reason})" if (reason := missing_reason(device, "power_w")) else "")
        for name, device in data.devices.items()
        if name not in known
    ]
    doubts = [
        f"{energy.device}: power_w is {doubt}, so its energy is no measurement."
        for energy in found
        if (doubt := energy_doubt(data, energy))
    ]
    shown = table(names, rows, "itnnnnnn", "Energy by device", stack=True)
    return Html(
        title + shown + items([*doubts, *absent], class_="note plain") + element("p", text, class_="note")
    )


def _row(data: RunSeries, energy: DeviceEnergy) -> tuple[str, ...]:
    low, high = energy.low_per_step_j, energy.high_per_step_j
    return (
        device_label(data.devices[energy.device]),
        energy.source,
        energy_text(energy.total_j),
        energy_text(energy.training_j),
        energy_text(energy.mean_per_step_j),
        _DASH if low is None or high is None else f"{energy_text(low)} to {energy_text(high)}",
        f"{energy.steps:,}",
        _DASH if energy.covered_ratio is None else f"{100 * energy.covered_ratio:.1f} %",
    )
