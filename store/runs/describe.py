"""One run in words: facts, devices, alerts, and what `verify` found."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.store.devices import device_labels, is_simulated
from thermograd.store.events import was_watched
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.tags import note_text, read_tags
from thermograd.store.text import cell_text

_MOST_LISTED = 10_000  # alerts, gaps and damaged files; how many there are is told in any case


def run_facts_shown(run: Run) -> dict[str, Any]:
    """Gather what ``show`` tells about a run."""
    marks, alerts = read_kind(run.path, "mark"), read_kind(run.path, "alert")
    texts = marks.select(["mark", "text"])
    gaps = texts.filter(pc.is_in(marks["mark"], pa.array(["gap", "error"])))
    keys = ["time_ns", "alert", "severity", "step", "device", "message"]
    order = [(name, "ascending") for name in ("time_ns", "writer", "seq")]
    listed = alerts.sort_by(order).select(keys).slice(0, _MOST_LISTED).to_pylist()
    counts = {
        row["values"]: row["counts"] for row in pc.value_counts(marks["mark"]).to_pylist()[:_MOST_LISTED]
    }
    return (
        run.summary()
        | asdict(read_tags(run.path))
        | {
            "path": str(run.path),
            "facts": run.facts,
            "gaps": gaps["text"].slice(0, _MOST_LISTED).to_pylist(),
            "marks": counts,
            "watched": was_watched({"text": text} for text in marks["text"].unique().to_pylist()),
            "alert_list": listed,
            "live_writers": sorted(run.live_writers()),
        }
    )


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


def describe_run(shown: Mapping[str, Any]) -> str:
    """Return one run's facts, devices, gaps and alerts as text."""
    facts = shown["facts"]
    lines = [f"{shown['run_id']}  ({shown['state']})", f"  name     {cell_text(shown['name'])}"]
    lines.append(f"  started  {shown['started'] or 'unknown'}   ended  {shown['ended'] or '-'}")
    if facts.get("model"):
        kind, size = cell_text(facts["model"].get("class")), facts["model"].get("parameters")
        lines.append(f"  model    {kind}, {f'{size:,}' if isinstance(size, int) else '?'} parameters")
    lines += [f"  tags     {', '.join(shown['tags'])}"] if shown["tags"] else []
    lines += [f"  note     {cell_text(note_text(note))}" for note in shown["notes"]]
    counts = f"{shown['steps']} steps, {shown['samples']} samples, {shown['alerts']} alerts"
    lines += [f"  events   {counts}", f"  path     {shown['path']}"]
    if isinstance(facts.get("truth"), dict):
        known = {key: value for key, value in facts["truth"].items() if value is not None and key != "about"}
        lines.append(f"  truth    simulated: {', '.join(f'{k} {cell_text(v)}' for k, v in known.items())}")
    if isinstance(facts.get("clock"), str):
        lines.append(f"  clock    {cell_text(facts['clock'])}")
    lines += ["", "Devices"]
    devices = facts.get("devices", {})
    for name, label in device_labels(devices).items():
        device = devices[name]
        lines += [f"  {label}  {_device_line(name, label, device)}"]
        lines += [f"    no {sensors}: {reason}" for reason, sensors in by_reason(device.get("missing", {}))]
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
    ]
    if not shown["alert_list"]:
        unwatched = f" recorded: nothing watched this run; see thermograd replay {shown['run_id']}"
        lines.append(f"  none{'' if shown['watched'] else unwatched}")
    return "\n".join(lines)


def by_reason(missing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (reason, sensors) so that sensors that share a reason stand together."""
    groups: dict[str, list[str]] = defaultdict(list)
    for sensor, reason in missing.items():
        groups[cell_text(reason)].append(cell_text(sensor))
    return [(reason, ", ".join(sensors)) for reason, sensors in groups.items()]


def _device_line(name: str, label: str, device: Mapping[str, Any]) -> str:
    """Return the name in the log, which queries need, the model in full, and the sensors."""
    parts = [cell_text(name)] if cell_text(name) != label else []
    parts += [cell_text(device["model"])] if device.get("model") else []
    if is_simulated(name, device):
        parts.insert(0, "SIMULATED")
    if device.get("sensors"):
        parts.append(f"sensors: {', '.join(device['sensors'])}")
    return "; ".join(parts)


def describe_verification(result: Mapping[str, Any]) -> str:
    """Return what ``verify`` found as text."""
    total = sum(result["events"].values())
    lines = [
        f"{total} events in {len(result['files'])} files, {'all whole' if result['ok'] else 'with damage'}"
    ]
    harmed = [entry for entry in result["files"] if "reason" in entry]
    for entry in harmed[:_MOST_LISTED]:
        at = f" at byte {entry['offset']}" if "offset" in entry else ""
        lines.append(f"  {entry['path']}: {entry['reason']}{at}; {entry['events']} events readable")
    if len(harmed) > _MOST_LISTED:
        lines.append(f"  and {len(harmed) - _MOST_LISTED} more")
    return "\n".join(lines)
