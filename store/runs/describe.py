"""One run in words: facts, devices, alerts, and what `verify` found."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thermograd.store.events import was_watched
from thermograd.store.experiment.marks import INTERVENTION, read_experiments
from thermograd.store.experiment.unbegun import refused_or_ended
from thermograd.store.files import is_plain_file, sealed_segments
from thermograd.store.labels.hosts import label_lines, labels_by_host
from thermograd.store.log.reader import read_kind
from thermograd.store.log.reading.held import held_count
from thermograd.store.places.shipped import shipped_s_ago
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import config_by, config_lines
from thermograd.store.runs.own_values.metrics import last_metrics, metric_lines
from thermograd.store.runs.steps import StepCount
from thermograd.store.runs.tags import note_text, read_tags
from thermograd.store.telling.devices import device_labels, is_simulated
from thermograd.store.telling.episodes import (
    ENDED_MARK,
    Episode,
    ends_of,
    episode_lines,
    fold_alerts,
    told_episodes,
)
from thermograd.store.telling.quantities import age_text, counted, moment_text
from thermograd.store.telling.silences import SILENCE_DETAIL
from thermograd.store.text import cell_text

_MOST_GAPS = 20  # lines
_MOST_ALIKE = 8  # devices
_TOLD_OF_DEVICES = ("model", "sensors", "missing", "suspect")
_NOT_THROTTLED = "Alerting counts short pauses (of devices 30 s): the throttled time is under What heat cost."
_MOST_LISTED = 10_000  # alerts, gaps and damaged files; how many there are is told in any case


def run_facts_shown(run: Run) -> dict[str, Any]:
    """Gather what ``show`` tells about a run; ``episodes`` are of all alerts, however many there are."""
    marks, alerts = read_kind(run.path, "mark"), read_kind(run.path, "alert")
    texts = marks.select(["mark", "text"])
    is_alert = pc.fill_null(pc.starts_with(marks["detail"], SILENCE_DETAIL), False)
    is_gap = pc.is_in(marks["mark"], pa.array(["gap", "error"]))
    gaps = texts.filter(pc.and_not(is_gap, is_alert))  # a silence is among the alerts
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
            "silences": pc.sum(pc.and_(is_gap, is_alert)).as_py() or 0,
            "marks": counts,
            "watched": was_watched({"text": text} for text in marks["text"].unique().to_pylist()),
            "alert_list": listed,
            "episodes": run_episodes(alerts, marks),
            "experiments": experiments_shown(marks),
            "experiments_without": refused_or_ended(marks.select(["mark", "detail"]).to_pylist()),
            "config": config_by(run, marks),
            "metrics": {name: last._asdict() for name, last in last_metrics(run).items()},
            "live_writers": sorted(run.live_writers()),
            "labels": labels_by_host(run.writers()),
            "shipped_s_ago": shipped_s_ago(run.path),
            "unreadable": unreadable_files(run.path),
            "held": held_readings(run),
        }
    )


def experiments_shown(marks: pa.Table) -> list[dict[str, Any]]:
    """Return the randomised experiments of a run's marks: what was drawn, and how much of it applied."""
    own = marks.filter(pc.equal(marks["mark"], INTERVENTION)).sort_by(
        [("time_ns", "ascending"), ("seq", "ascending")]
    )
    return [
        {
            "arm": each.schedule.arm,
            "design": each.schedule.design.name,
            "seed": each.schedule.seed,
            "assigned": len(each.assigned),
            "applied": sum(done.failed is None for done in each.applied.values()),
        }
        for each in read_experiments(own.to_pylist())
    ]


def _experiment_line(found: Mapping[str, Any]) -> str:
    what = ("block", "blocks") if found["design"] == "switchback" else ("stratum", "strata")
    return (
        f"{found['arm']}: a randomised experiment, seed {found['seed']}; "
        f"{counted(found['assigned'], *what)} assigned, {found['applied']} applied"
    )


def unreadable_files(run_dir: Path) -> dict[str, int]:
    """Return the sealed files whose footer tells another number of events than the name, and that."""
    named = {s.path: (s.last or 0) - s.first + 1 for s in sealed_segments(run_dir)}
    wrong = {path: count for path, count in named.items() if _rows_told(path) != count}
    return {path.relative_to(run_dir).as_posix(): count for path, count in wrong.items()}


def _rows_told(path: Path) -> int | None:
    with suppress(pa.ArrowException, OSError, ValueError):
        return int(pq.read_metadata(path).num_rows) if is_plain_file(path) else None
    return None


def run_episodes(alerts: pa.Table, marks: pa.Table) -> list[Episode]:
    """Return the episodes of a run's alerts, from its rows of the `alert` and `mark` kinds."""
    ended = marks.filter(pc.equal(marks["mark"], ENDED_MARK)).select(["mark", "detail"])
    return fold_alerts(alerts.to_pylist(), ends_of(ended.to_pylist()))


def describe_run(shown: Mapping[str, Any], every_alert: bool = False) -> str:
    """Return one run's facts, devices, gaps and alerts as text; the alerts as episodes, or every one."""
    facts = shown["facts"]
    ended = shown["state"] if shown["reason"] is None else f"{shown['state']}: {shown['reason']}"
    lines = [f"{shown['run_id']}  ({ended})", f"  name     {cell_text(shown['name'])}"]
    lines.append(f"  started  {shown['started'] or 'unknown'}   ended  {shown['ended'] or '-'}")
    if shown.get("shipping"):
        lines.append(f"  shipping {cell_text(shown['shipping'])}")
    elif shown["shipped_s_ago"] is not None:
        lines.append(f"  shipped  until {age_text(shown['shipped_s_ago'])} ago")
    if facts.get("model"):
        kind, size = cell_text(facts["model"].get("class")), facts["model"].get("parameters")
        lines.append(f"  model    {kind}, {f'{size:,}' if isinstance(size, int) else '?'} parameters")
    lines += [f"  tags     {', '.join(shown['tags'])}"] if shown["tags"] else []
    lines += [f"  note     {cell_text(note_text(note))}" for note in shown["notes"]]
    steps = StepCount(shown["steps"], shown["ranks"])
    counts = ", ".join([str(steps), *(counted(shown[f"{kind}s"], kind) for kind in ("sample", "alert"))])
    lines.append(f"  events   {counts}")
    if wrong := shown.get("unreadable"):
        lines.append(f"  damaged  {_unreadable_line(shown['run_id'], wrong)}")
    if held := shown.get("held"):
        lines.append(f"  held     {_held_line(held)}")
    lines += [f"  arm      {cell_text(_experiment_line(each))}" for each in shown["experiments"]]
    unbegun = shown.get("experiments_without", ())
    lines += [f"  arm      an experiment {became}: {cell_text(why)}" for became, why in unbegun]
    lines.append(f"  path     {shown['path']}")
    if isinstance(facts.get("truth"), dict):
        known = {key: value for key, value in facts["truth"].items() if value is not None and key != "about"}
        lines.append(f"  truth    simulated: {', '.join(f'{k} {cell_text(v)}' for k, v in known.items())}")
    if isinstance(facts.get("clock"), str):
        lines.append(f"  clock    {cell_text(facts['clock'])}")
    lines += label_lines(shown["labels"])
    if shown.get("incident"):
        lines += ["", "What heat cost", *(f"  {cell_text(line)}" for line in shown["incident"]["lines"])]
    lines += ["", "Devices"]
    devices = facts.get("devices", {})
    lines += _device_lines(devices)
    lines += [f"  no {vendor} device: {reason}" for vendor, reason in facts.get("devices_absent", {}).items()]
    if not facts.get("devices"):
        lines.append("  none")
    if shown.get("peers"):
        lines += ["", "Which rank or device stands out", *(f"  {line}" for line in shown["peers"])]
    if shown.get("population"):
        lines += ["", "Among others of their model", *(f"  {line}" for line in shown["population"])]
    lines += [*config_lines(shown["config"]), *metric_lines(shown["metrics"])]
    lines += ["", "Gaps and errors", *_gap_lines(shown["gaps"], shown.get("silences", 0))]
    lines += ["", *(_every_alert(shown) if every_alert else _episodes(shown))]
    return "\n".join(lines)


def _unreadable_line(run_id: str, wrong: Mapping[str, int]) -> str:
    files, events = counted(len(wrong), "file"), counted(sum(wrong.values()), "event")
    return f"{files} of {events} by the name, counted above, cannot be read whole: thermograd verify {run_id}"


def _held_line(held: int) -> str:
    return (
        f"{counted(held, 'acknowledged reading')} of a receiver that was killed, not in the log yet: "
        "thermograd record --otlp takes up what is held in its --runs"
    )


def _device_lines(devices: Mapping[str, Any]) -> list[str]:
    """Return each device, of many alike ones the first few, and what they do not measure once."""
    alike: dict[str, list[str]] = defaultdict(list)
    labels = device_labels(devices)
    for name in labels:
        alike[repr([devices[name].get(key) for key in _TOLD_OF_DEVICES])].append(name)
    lines = []
    for names in alike.values():
        device = devices[names[0]]
        lines += [f"  {labels[n]}  {_device_line(n, labels[n], devices[n])}" for n in names[:_MOST_ALIKE]]
        lines += [f"  and {len(names) - _MOST_ALIKE} more like these"] * (len(names) > _MOST_ALIKE)
        lines += [f"    no {sensors}: {reason}" for reason, sensors in by_reason(device.get("missing", {}))]
        lines += [
            f"    {sensor}: {cell_text(reason)}" for sensor, reason in device.get("suspect", {}).items()
        ]
    return lines


def _gap_lines(gaps: list[Any], silences: int = 0) -> list[str]:
    """Return each gap once, with how often it was told, and of many only the first; silences are alerts."""
    times = Counter(map(cell_text, gaps))
    lines = [f"  {gap}" + (f" ({count:,} times)" if count > 1 else "") for gap, count in times.items()]
    more = len(lines) - _MOST_GAPS
    none = f"  none but {counted(silences, 'silence')}: see Alerts" if silences else "  none"
    return lines[:_MOST_GAPS] + [f"  and {more:,} more: --json lists them"] * (more > 0) or [none]


def _episodes(shown: Mapping[str, Any]) -> list[str]:
    episodes, more = told_episodes(shown["episodes"])
    head = f"Alerts ({counted(shown['alerts'], 'alert')} in {counted(len(shown['episodes']), 'episode')})"
    folded = any(episode.count > 1 for episode in episodes)
    lines = [f"  {line}" for line in episode_lines(episodes)]
    lines += [f"  and {counted(more, 'episode')} more"] * (more > 0)
    lines += [f"  {_NOT_THROTTLED}"] * any(episode.is_beside_throttling for episode in episodes)
    lines += ["  Every one: show --alerts"] * (folded or more > 0)
    return [head if folded else "Alerts", *(lines or [_no_alert(shown)])]


def _every_alert(shown: Mapping[str, Any]) -> list[str]:
    lines = [
        f"  {moment_text(a['time_ns'])}  {cell_text(a['severity']):<8}  {cell_text(a['alert']):<17}  "
        f"{cell_text(a['message'])}"
        for a in shown["alert_list"]
    ]
    more = shown["alerts"] - len(lines)
    lines += [f"  and {more:,} more: thermograd query has them all"] * (more > 0)
    return ["Alerts", *(lines or [_no_alert(shown)])]


def _no_alert(shown: Mapping[str, Any]) -> str:
    unwatched = f" recorded: nothing watched this run; see thermograd replay {shown['run_id']}"
    return f"  none{'' if shown['watched'] else unwatched}"


def by_reason(missing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (reason, sensors) so that sensors that share a reason stand together."""
    groups: dict[str, list[str]] = defaultdict(list)
    for sensor, reason in missing.items():
        groups[cell_text(reason)].append(cell_text(sensor))
    return [(reason, ", ".join(sensors)) for reason, sensors in groups.items()]


def _device_line(name: str, label: str, device: Mapping[str, Any]) -> str:
    """Return the name in the log, which queries need, the model in full, and the sensors."""
    parts = [] if label.startswith(cell_text(name)) else [cell_text(name)]
    parts += [cell_text(device["model"])] if device.get("model") else []
    if is_simulated(name, device):
        parts.insert(0, "SIMULATED")
    if device.get("sensors"):
        parts.append(f"sensors: {', '.join(device['sensors'])}")
    return "; ".join(parts)


def never_written(run_dir: Path) -> int:
    """Return how many events the `gap` marks of a run's writers say could not be written."""
    marks = read_kind(run_dir, "mark")
    return sum(map(lost_events, marks.filter(pc.equal(marks["mark"], "gap"))["detail"].to_pylist()))


def held_readings(run: Run) -> int:
    """Return how many acknowledged readings no receiver has taken up.

    None are told of while the run is received: what waits then is written within seconds.
    """
    count = held_count(run.path)
    return 0 if count and run.live_writers() else count


def outside_the_log(run: Run) -> dict[str, int]:
    """Return what ``verify`` adds: events that could not be written, readings that no receiver took up."""
    return {"never_written": never_written(run.path), "held": held_readings(run)}


def lost_events(detail: Any) -> int:
    """Return how many events the detail of a `gap` mark says could not be written."""
    with suppress(TypeError, ValueError, KeyError, RecursionError):
        lost = json.loads(detail)["lost"]
        return max(lost, 0) if type(lost) is int else 0
    return 0


def describe_verification(result: Mapping[str, Any]) -> str:
    """Return what ``verify`` found as text."""
    total = sum(result["events"].values())
    lines = [
        f"{counted(total, 'event')} in {counted(len(result['files']), 'file')}, "
        f"{'all whole' if result['ok'] else 'with damage'}"
    ]
    harmed = [entry for entry in result["files"] if "reason" in entry]
    for entry in harmed[:_MOST_LISTED]:
        at = f" at byte {entry['offset']}" if "offset" in entry else ""
        readable = "" if entry.get("set_aside") else f"; {counted(entry['events'], 'event')} readable"
        lines.append(f"  {entry['path']}: {entry['reason']}{at}{readable}")
    if len(harmed) > _MOST_LISTED:
        lines.append(f"  and {len(harmed) - _MOST_LISTED} more")
    if lost := result.get("never_written"):
        events, them = counted(lost, "event"), "it" if lost == 1 else "them"
        lines.append(f"  {events} could not be written, as the writers counted {them} (no damage): see show")
    if held := result.get("held"):
        lines.append(f"  {_held_line(held)}")
    return "\n".join(lines)
