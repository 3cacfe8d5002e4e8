"""Results as text for a terminal: tables, facts of a run, and the verdict in words."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thermograd.analysis.report.table import cell_text, table_text
from thermograd.analysis.run.result import Analysis, Pair
from thermograd.analysis.run.wording import (
    control_lines,
    event_lines,
    further_lines,
    reach_sentence,
    speed_sentence,
)
from thermograd.analysis.statement import most_telling, pair_sentence, verdict_sentence
from thermograd.store.events import column_names, was_watched
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

_LIMITS = ("rated_power_w", "power_limit_w", "temperature_limit_c", "max_sm_clock_mhz", "driver_version")


def run_facts_shown(run: Run) -> dict[str, Any]:
    """Gather what ``show`` tells about a run."""
    marks = read_kind(run.path, "mark").to_pylist()
    alerts = read_kind(run.path, "alert").to_pylist()
    keys = ("time_ns", "alert", "severity", "step", "device", "message")
    return run.summary() | {
        "path": str(run.path),
        "facts": run.facts,
        "gaps": [m["text"] for m in marks if m["mark"] in ("gap", "error")],
        "marks": _counted(m["mark"] for m in marks),
        "watched": was_watched(marks),
        "alert_list": [{key: a[key] for key in keys} for a in sorted(alerts, key=lambda a: a["time_ns"])],
        "live_writers": sorted(run.live_writers()),
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def describe_run(shown: Mapping[str, Any]) -> str:
    """Return one run's facts, devices, gaps and alerts as text."""
    facts = shown["facts"]
    lines = [f"{shown['run_id']}  ({shown['state']})", f"  name     {cell_text(shown['name'])}"]
    lines.append(f"  started  {shown['started'] or 'unknown'}   ended  {shown['ended'] or '-'}")
    if facts.get("model"):
        model = facts["model"]
        lines.append(
            f"  model    {cell_text(model.get('class'))}, {_count(model.get('parameters'))} parameters"
        )
    counts = f"{shown['steps']} steps, {shown['samples']} samples, {shown['alerts']} alerts"
    lines += [f"  events   {counts}", f"  path     {shown['path']}"]
    if isinstance(facts.get("truth"), dict):
        known = {key: value for key, value in facts["truth"].items() if value is not None and key != "about"}
        lines.append(f"  truth    simulated: {', '.join(f'{k} {cell_text(v)}' for k, v in known.items())}")
    if isinstance(facts.get("clock"), str):
        lines.append(f"  clock    {cell_text(facts['clock'])}")
    lines += ["", "Devices"]
    for name, device in facts.get("devices", {}).items():
        lines += [f"  {cell_text(name)}  {_device_line(name, device)}"]
        lines += [f"    no {sensors}: {reason}" for reason, sensors in _by_reason(device.get("missing", {}))]
        lines += [
            f"    {sensor}: {cell_text(reason)}" for sensor, reason in device.get("suspect", {}).items()
        ]
    lines += [f"  no {vendor} device: {reason}" for vendor, reason in facts.get("devices_absent", {}).items()]
    if not facts.get("devices"):
        lines.append("  none")
    lines += ["", "Gaps", *([f"  {cell_text(gap)}" for gap in shown["gaps"]] or ["  none"]), "", "Alerts"]
    lines += [
        f"  {_clock(a['time_ns'])}  {a['severity']:<8}  {a['alert']:<17}  {cell_text(a['message'])}"
        for a in shown["alert_list"]
    ] or [_no_alert(shown)]
    return "\n".join(lines)


def _no_alert(shown: Mapping[str, Any]) -> str:
    if shown["watched"]:
        return "  none"
    return f"  none recorded: nothing watched this run; see thermograd replay {shown['run_id']}"


def _by_reason(missing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (reason, sensors) so that sensors that share a reason stand together."""
    groups: dict[str, list[str]] = {}
    for sensor, reason in missing.items():
        groups.setdefault(cell_text(reason), []).append(cell_text(sensor))
    return [(reason, ", ".join(sensors)) for reason, sensors in groups.items()]


def _device_line(name: str, device: Mapping[str, Any]) -> str:
    parts = [cell_text(device["model"])] if device.get("model") else []
    if device.get("simulated") or name.startswith("simulated:"):
        parts.insert(0, "SIMULATED")
    if device.get("sensors"):
        parts.append(f"sensors: {', '.join(device['sensors'])}")
    return "; ".join(parts)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


def describe_analysis(analysis: Analysis) -> str:
    """Return an analysis as text: the verdict first, then what it stands on."""
    a = analysis.alignment
    matched = f"{a['matched']} of {a['steps']} steps have a sample within {a['tolerance_s']:g} s"
    lines = [verdict_sentence(analysis), "", f"Run {analysis.run_id}: {matched}."]
    lines += [f"  left out: {count} steps, {reason}" for reason, count in a["dropped"].items()]
    for title, speed in (("Optimisation coupling (the question)", False), ("Speed coupling (control)", True)):
        pairs = [pair for pair in analysis.pairs if pair.is_speed == speed]
        if pairs:
            lines += ["", title, _pairs_table(analysis, pairs)]
            lines += [text] if speed and (text := speed_sentence(analysis)) else []
    explained = [p for p in most_telling(analysis.pairs) if p.verdict not in ("inconclusive", "no_coupling")]
    if explained and analysis.method == "rxc":
        lines += ["", *_reasons(explained)]
    for title, said in (
        ("What this run could have shown", [text] if (text := reach_sentence(analysis)) else []),
        ("More on coupled pairs", further_lines(analysis)),
        ("Events", event_lines(analysis)),
        ("Controls (where they match, it is trend)", control_lines(analysis)),
    ):
        if said:
            lines += ["", title, *(f"  {line}" for line in said)]
    if analysis.warnings:
        lines += ["", "Warnings", *(f"  {warning}" for warning in analysis.warnings)]
    return "\n".join(lines)


def _pairs_table(analysis: Analysis, pairs: list[Pair]) -> str:
    if analysis.method == "pearson":
        header = ["x", "y", "device", "n", "pearson_r"]
        return table_text(header, [[p.x, p.y, p.device, p.n, p.pearson_r] for p in pairs])
    header = ["x", "y", "device", "verdict", "n", "r", "lag_s", "p_adj", "bound", "naive r"]
    rows = [
        [
            *(p.x, p.y, p.device, p.verdict, p.n),
            *map(_short, (p.r, p.lag_s, p.p_adjusted, p.half_width, p.pearson_r)),
        ]
        for p in most_telling(pairs)
    ]
    return table_text(header, rows)


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _reasons(pairs: list[Pair]) -> list[str]:
    """Say each verdict's reason once, however many pairs share it."""
    shared: dict[str, list[str]] = {}
    for pair in pairs:
        shared.setdefault(pair_sentence(pair), []).append(f"{pair.x} ~ {pair.y} ({pair.device})")
    lines = []
    for reason, names in shared.items():
        distinct = list(dict.fromkeys(names))
        shown = distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"
        lines.append(f"{shown}: {reason}")
    return lines


def demo_summary(run: Run, analysis: Analysis, paths: Mapping[str, Path], beside: str) -> str:
    """Return the last screen of the demo: what was trained and found, `beside` it, where the report is."""
    from thermograd.analysis.run.series import load_series

    data = load_series(run)
    loss = data.training("loss")
    lines = []
    if loss.size:
        lines.append(f"Loss      {loss[0]:.3f} at step 1, {loss[-1]:.3f} at step {loss.size}")
        lines.append(f"Spikes    {_spikes_found(data.marks, data.alerts)}")
    for name, device in data.devices.items():
        label = "SIMULATED, " if device.simulated else ""
        lines.append(f"Device    {name}: {label}{len(device.time_ns)} samples")
    verdict = textwrap.fill(verdict_sentence(analysis), 79)
    lines += ["", verdict, "", beside, "", f"Report    {paths['report']}"]
    return "\n".join(lines)


_SPIKES = {"spike.grad": "gradient norm", "spike.loss": "loss"}


def _spikes_found(marks: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> str:
    """Say which injected faults raised a spike alert of either signal, and which other steps did."""
    injected = [m["step"] for m in marks if m["mark"] == "injection" and m["step"] is not None]
    raised = [(a["step"], _SPIKES[a["alert"]]) for a in alerts if a["alert"] in _SPIKES and a["step"]]
    found = {
        step: " and ".join(sorted({name for at, name in raised if step <= at <= step + 1}))
        for step in injected
    }
    shown = ", ".join(f"{step}: {names or 'none'}" for step, names in found.items()) or "none"
    other = sorted({at for at, _ in raised if not any(step <= at <= step + 1 for step in injected)})
    steps = f"step{'s' * (len(injected) != 1)} {shown}"
    text = f"{sum(map(bool, found.values()))} of {len(injected)} injected bad batches found ({steps})"
    return f"{text}; {len(other)} other step{'s' * (len(other) != 1)} with a spike alert" + (
        f" (in {_steps(other)})" if other else ""
    )


def _steps(steps: list[int]) -> str:
    *before, last = map(str, steps)
    return f"steps {', '.join(before)} and {last}" if before else f"step {last}"


def describe_verification(result: Mapping[str, Any]) -> str:
    """Return what ``verify`` found as text."""
    total = sum(result["events"].values())
    lines = [
        f"{total} events in {len(result['files'])} files, {'all whole' if result['ok'] else 'with damage'}"
    ]
    for entry in result["files"]:
        if "reason" in entry:
            at = f" at byte {entry['offset']}" if "offset" in entry else ""
            lines.append(f"  {entry['path']}: {entry['reason']}{at}; {entry['events']} events readable")
    return "\n".join(lines)


def _column_order(sensor: str) -> int:
    names = column_names("sample")
    return names.index(sensor) if sensor in names else len(names)


def describe_machine(facts: Mapping[str, Any]) -> str:
    """Return what ``doctor`` found as text: each device, what it measures, what it lacks and why."""
    lines = []
    for name, device in facts["devices"].items():
        lines.append(f"{name}: {cell_text(device.get('model') or 'unknown model')}")
        sensors = sorted(device.get("sensors", []), key=_column_order)
        lines.append(f"  measures {', '.join(sensors) or 'nothing'}")
        limits = [f"{limit} {cell_text(device[limit])}" for limit in _LIMITS if device.get(limit) is not None]
        lines += [f"  limits {', '.join(limits)}"] if limits else []
        lines += [f"  note: {cell_text(device['note'])}"] if device.get("note") else []
        lines += [f"  lacks {names}: {reason}" for reason, names in _by_reason(device.get("missing", {}))]
    lines += ["", "Not here"]
    lines += [f"  {vendor}: {reason}" for vendor, reason in facts["absent"].items()]
    if not facts.get("pressure"):
        lines.append("  pressure stall information: the kernel has none, or was booted with psi=0")
    lines += ["", "Packages", *(f"  {name}: {text}" for name, text in facts["packages"].items())]
    if not any(name.startswith("GPU-") for name in facts["devices"]):
        lines += ["", "Without a GPU, `demo` samples a simulated one beside this machine, and says so."]
    return "\n".join(lines)
