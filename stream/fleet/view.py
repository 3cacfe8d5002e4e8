"""The fleet as lines for a terminal and as a document: trouble first, one row a run."""

from collections import Counter
from collections.abc import Iterable
from io import StringIO
from itertools import chain
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text
from thermograd.store.events import gravity
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable
from thermograd.stream.fleet.brokers.messages import DeviceNow
from thermograd.stream.fleet.state import FleetAlert, FleetState, RunState, finite
from thermograd.stream.terminal.table import Column, count, number, table_lines

_MOST_ALERTS = 50
_WRAPS_HEADER = 60  # cells; below, a line of the screen is worth more


def fleet_rows(state: FleetState, now_ns: int) -> list[dict[str, Any]]:
    """Return one row for each run that lives or has just ended, trouble first.

    Trouble is, in this order: silent nodes, critical and other fleet alerts, throttled devices, spikes.
    """
    rows = [run_row(state, run, now_ns) for run in state.runs.values() if run.nodes]
    return sorted(rows, key=lambda row: (*(-trouble for trouble in _trouble(row)), row["name"], row["run"]))


def _trouble(row: dict[str, Any]) -> tuple[int, ...]:
    lives = int(row["state"] != "ended")
    fleet = row["fleet_alerts"]
    return (
        lives * len(row["silent_nodes"]),
        lives * row["critical_alerts"],
        lives * fleet,
        lives * len(row["throttled_devices"]),
        lives * row["spikes"],
        lives,
    )


def run_row(state: FleetState, run: RunState, now_ns: int) -> dict[str, Any]:
    """Return what a view shows of one run."""
    nodes = run.nodes.values()
    devices = [device for node in nodes if not node.ended for device in node.devices.values()]
    lead = _lead(run)
    times_s = [time_s for rank in run.ranks.values() for time_s in rank.step_times_s]
    silent = sorted(node.beat.node for node in nodes if node.silent)
    lags_s = [(n.beat.time_ns - n.beat.newest_ns) / 1e9 for n in nodes if n.beat.newest_ns is not None]
    since_ns = now_ns - round(state.recent_s * 1e9)
    return {
        "run": run.run,
        "name": run.name,
        "state": "ended" if not run.is_live else "silent" if silent else "live",
        "ranks": max([len(run.ranks), *(node.beat.world_size or 0 for node in nodes)]),
        "hosts": len(run.nodes),
        "devices": len(devices),
        "step": lead.step if lead else None,
        "loss": finite(lead.loss) if lead else None,
        "grad_norm": finite(lead.grad_norm) if lead else None,
        "step_time_s": median(times_s) if times_s else None,
        "power_w": _total(devices, "power_w"),
        "temperature_c": _most(devices, "temperature_c"),
        "spikes": sum(time_ns >= since_ns for time_ns in run.spikes),
        "throttled_devices": sorted(device.device for device in devices if device.throttled),
        "silent_nodes": silent,
        "alerts": len(run.known),
        "fleet_alerts": sum(alert.level == "fleet" for alert in run.alerts),
        "critical_alerts": sum(alert.level == "fleet" and _is_critical(alert) for alert in run.alerts),
        "missing_alerts": run.missing_alerts(),
        "thinned_beats": sum(node.beat.thinned for node in nodes),
        "without_alerts": sorted(node.beat.node for node in nodes if node.beat.state != "live"),
        "event_lag_s": max(lags_s, default=None),
        "heard_s_ago": max(0.0, (now_ns - run.newest_ns) / 1e9),
    }


def _lead(run: RunState) -> Any:
    """Return what rank 0 last said, else the rank that is furthest."""
    return run.ranks.get("0") or max(run.ranks.values(), key=lambda rank: rank.step or -1, default=None)


def _is_critical(alert: FleetAlert) -> bool:
    return gravity(alert.severity) >= gravity("critical")


def _known(devices: Iterable[DeviceNow], name: str) -> list[float]:
    return [value for device in devices if (value := finite(getattr(device, name))) is not None]


def _total(devices: Iterable[DeviceNow], name: str) -> float | None:
    known = _known(devices, name)
    return sum(known) if known else None


def _most(devices: Iterable[DeviceNow], name: str) -> float | None:
    return max(_known(devices, name), default=None)


def fleet_alerts(state: FleetState, level: str | None = None) -> list[FleetAlert]:
    """Return the alerts of all runs, newest first; of one level, if given."""
    alerts = [alert for run in state.runs.values() for alert in run.alerts if level in (None, alert.level)]
    return sorted(alerts, key=lambda alert: (-alert.time_ns, alert.id))


def fleet_document(state: FleetState, now_ns: int) -> dict[str, Any]:
    """Return all of it for a program."""
    return {
        "runs": fleet_rows(state, now_ns),
        "alerts": [msgspec.to_builtins(alert) for alert in fleet_alerts(state)],
        "false_alarms_per_day": 2 * state.budget.per_day,  # half of them for slow ranks
        "late_evidence": state.budget.late,
        "messages": state.messages,
        "repeated_messages": state.repeated,
        "unreadable_messages": state.unreadable,
    }


_COLUMNS = (
    Column("ranks", 60, lambda row: str(row["ranks"] or "–")),
    Column("hosts", 60, lambda row: str(row["hosts"])),
    Column("step", 0, lambda row: "–" if row["step"] is None else str(row["step"])),
    Column("loss", 0, lambda row: number(row["loss"])),
    Column("grad norm", 100, lambda row: number(row["grad_norm"])),
    Column("step s", 100, lambda row: number(row["step_time_s"], 3)),
    Column("W", 120, lambda row: number(row["power_w"], 0, fixed=True)),
    Column("°C", 120, lambda row: number(row["temperature_c"], 0, fixed=True)),
    Column("spikes", 0, lambda row: count(row["spikes"])),
    Column("slowed", 50, lambda row: count(len(row["throttled_devices"]))),
    Column("silent", 40, lambda row: count(len(row["silent_nodes"]))),
    Column("alerts", 70, lambda row: count(row["alerts"])),
)


def fleet_lines(state: FleetState, now_ns: int, width: int, height: int | None = None) -> list[Text]:
    """Return the view as lines, each at most `width` cells wide; without a height all runs are shown."""
    width = max(width, 30)
    rows, alerts = fleet_rows(state, now_ns), fleet_alerts(state, "fleet")
    header = _header(state, rows)
    lines = [*(_wrapped(header, width) if width >= _WRAPS_HEADER else [header]), Text("")]
    told = _alert_lines(state, alerts, width, None if height is None else max(height // 4, 1))
    room = len(rows) if height is None else max(height - len(lines) - len(told) - 5, 1)
    shown = rows if len(rows) <= room else rows[: max(room - 1, 1)]
    lines += table_lines(shown, _COLUMNS, width) if rows else [Text("no live runs", style="dim")]
    if len(shown) < len(rows):
        lines.append(_left_out(rows[len(shown) :]))
    lines += [Text(""), *told]
    if height is not None:
        lines = lines[: height - 1] + [Text("")] * (height - 1 - len(lines))
        lines.append(Text("q quits · trouble first", style="dim"))
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def _header(state: FleetState, rows: list[dict[str, Any]]) -> Text:
    live = [row for row in rows if row["state"] != "ended"]
    facts = [counted(len(live), "live run"), counted(len(_hosts(state)), "node")]
    facts.append(counted(sum(row["devices"] for row in live), "device"))
    missing = sum(row["missing_alerts"] for row in rows)
    if missing:
        facts.append(f"{counted(missing, 'alert')} only in the log")
    allowed = 2 * state.budget.per_day
    facts.append(f"at most {allowed:g} false {'alarm' if allowed == 1 else 'alarms'} a day")
    return Text.assemble(("fleet", "bold"), " · ", " · ".join(facts))


def _hosts(state: FleetState) -> set[str]:
    return {name for run in state.runs.values() if run.is_live for name in run.nodes}


def _left_out(rows: list[dict[str, Any]]) -> Text:
    states = Counter(row["state"] for row in rows)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return Text(f"and {len(rows)} more: {told}", style="dim")


def _alert_lines(state: FleetState, alerts: list[FleetAlert], width: int, most: int | None) -> list[Text]:
    """Return the newest alerts as at most so many lines, the first of them whatever it takes."""
    if not alerts:
        return [Text("no fleet alerts", style="dim")]
    shown: list[list[Text]] = []
    for alert in alerts[:_MOST_ALERTS]:
        lines = _wrapped(Text(_alert_text(state, alert), _style(alert)), width)
        if shown and most is not None and sum(map(len, shown)) + len(lines) > most:
            break
        shown.append(lines)
    title = f"fleet alerts, newest first ({len(shown)} of {len(alerts)})"
    return [Text(title, style="dim"), *chain.from_iterable(shown)]


def _wrapped(text: Text, width: int) -> list[Text]:
    first, *rest = text.wrap(Console(width=width, file=StringIO()), width - 2)
    return [first, *(Text.assemble("  ", line) for line in rest)]


def _alert_text(state: FleetState, alert: FleetAlert) -> str:
    name = state.runs[alert.run].name if alert.run in state.runs else alert.run
    where = f"{name} on {alert.node}" if alert.node else name
    return printable(f"{alert.severity:<8}  {alert.alert:<16}  {where}: {alert.message}")


def _style(alert: FleetAlert) -> str:
    return "bold red" if _is_critical(alert) else "yellow"
