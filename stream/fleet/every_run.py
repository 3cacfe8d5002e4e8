"""`thermograd watch --all`: one line for each live run of a folder, and for those that have just ended."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text
from thermograd.store.events import gravity
from thermograd.store.log.watched import read_watched
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import device_label
from thermograd.store.telling.quantities import age_text, counted
from thermograd.store.text import printable
from thermograd.stream.fleet.local import FolderReceiver
from thermograd.stream.fleet.state import FleetState, RunState, finite
from thermograd.stream.fleet.view import run_row
from thermograd.stream.terminal.table import Column, Row, count, number, table_lines

_ALERTED = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_STRONG = 20.0  # an e-value that one uncoupled device in twenty reaches
_LEGEND = "q quits · event: age of the newest · e-value: evidence of coupling, 1 none, 20 strong"
_AT_RISK = ("live", "silent")


class EveryRun:
    """Looks at the runs that a `FolderReceiver` hears of, and at what agents left beside their logs."""

    def __init__(self, receiver: FolderReceiver, shown: Path | str) -> None:
        self._receiver, self._shown = receiver, printable(shown)

    def rows(self, state: FleetState, now_ns: int) -> list[dict[str, Any]]:
        """Return one row for each run: those that live, then those that have ended, the latest first."""
        runs = ((run, self._receiver.runs.get(run.run)) for run in state.runs.values() if run.nodes)
        rows = [_row(state, run, of, now_ns) for run, of in runs if of is not None]
        return sorted(sorted(rows, key=_begun, reverse=True), key=lambda row: row["state"] not in _AT_RISK)

    def document(self, state: FleetState, now_ns: int) -> dict[str, Any]:
        """Return all of it for a program."""
        return {"time_ns": now_ns, "runs": self.rows(state, now_ns)}

    def lines(self, state: FleetState, now_ns: int, width: int, height: int | None = None) -> list[Text]:
        """Return the view as lines, each at most `width` cells wide; without a height all runs are shown."""
        rows = self.rows(state, now_ns)
        lines = [_header(rows, self._shown), Text("")]
        room = len(rows) if height is None else max(height - len(lines) - 3, 1)
        shown = rows if len(rows) <= room else rows[: max(room - 1, 1)]
        lines += table_lines(shown, _COLUMNS, width) if rows else _nothing(self._shown)
        lines += [_left_out(rows[len(shown) :])] if len(shown) < len(rows) else []
        if height is not None:
            lines = lines[: height - 1] + [Text("")] * (height - 1 - len(lines))
            lines.append(Text(_LEGEND, style="dim"))
        for line in lines:
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
        return lines


def _begun(row: Row) -> tuple[int, str]:
    return row["started_time_ns"] or 0, row["run"]


def _row(state: FleetState, run: RunState, of: Run, now_ns: int) -> dict[str, Any]:
    row = run_row(state, run, now_ns)
    end = of.end() if row["state"] == "ended" else None
    newest_ns = max((node.beat.newest_ns or 0 for node in run.nodes.values()), default=0)
    gravest = max(run.alerts, key=lambda alert: (gravity(alert.severity), alert.time_ns), default=None)
    step_time_s = row["step_time_s"]
    return row | {
        "state": row["state"] if end is None else end.state,
        "reason": None if end is None else end.reason,
        "started_time_ns": of.started_time_ns,
        "steps_per_s": 1.0 / step_time_s if step_time_s else None,
        **_hottest(run, of.facts.get("devices", {})),
        "gravest_alert": gravest.alert if gravest else None,
        "gravest_severity": gravest.severity if gravest else None,
        "e_value": _strongest(read_watched(of.path)),
        "last_event_s_ago": max(0.0, (now_ns - newest_ns) / 1e9) if newest_ns else None,
    }


def _hottest(run: RunState, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    devices = [device for node in run.nodes.values() for device in node.devices.values()]
    heats = ((finite(device.temperature_c), device.device) for device in devices)
    known = [(heat, device) for heat, device in heats if heat is not None]
    heat, device = max(known, default=(None, None))
    label = None if device is None else device_label(device, facts)
    return {"temperature_c": heat, "hottest_device": device, "hottest_label": label}


def _strongest(watched: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the largest e-value of a device, as the agents of the run left it last."""
    devices = [of for each in watched for of in each["devices"].values() if isinstance(of, dict)]
    values = [of.get("e_value") for of in devices]
    return max((v for v in values if isinstance(v, int | float)), default=None)


def _alerts(row: Row) -> str:
    if row["gravest_alert"] is None:
        return count(row["alerts"])
    return printable(f"{row['alerts']:,} {row['gravest_severity']}")


def _alert_style(row: Row) -> str:
    return _ALERTED.get(str(row["gravest_severity"]), "")


def _heat(row: Row) -> str:
    heat = number(row["temperature_c"], 0, fixed=True)
    return f"{heat} !" if row["throttled_devices"] else heat


_COLUMNS = (
    Column("step", 0, lambda row: "–" if row["step"] is None else f"{row['step']:,}"),
    Column("steps/s", 64, lambda row: number(row["steps_per_s"], 3)),
    Column("loss", 0, lambda row: number(row["loss"])),
    Column("grad norm", 72, lambda row: number(row["grad_norm"])),
    Column("hottest", 120, lambda row: row["hottest_label"] or "–"),
    Column("°C", 50, _heat, lambda row: "bold red" if row["throttled_devices"] else ""),
    Column("e-value", 90, lambda row: number(row["e_value"], 3), lambda row: _evidence_style(row["e_value"])),
    Column("alerts", 44, _alerts, _alert_style),
    Column("gravest", 130, lambda row: printable(row["gravest_alert"] or "–"), _alert_style),
    Column("event", 76, lambda row: _age(row["last_event_s_ago"])),
)


def _evidence_style(e_value: float | None) -> str:
    return "bold" if e_value is not None and e_value >= _STRONG else ""


def _age(seconds: float | None) -> str:
    return "–" if seconds is None else age_text(seconds)


def _header(rows: list[dict[str, Any]], shown: str) -> Text:
    live = sum(row["state"] in _AT_RISK for row in rows)
    facts = [counted(live, "live run")]
    facts += [f"{len(rows) - live} just ended"] if live < len(rows) else []
    return Text.assemble((shown, "bold"), " · ", " · ".join(facts))


def _nothing(shown: str) -> list[Text]:
    return [
        Text(f"No run is live in {shown}; one that begins appears here."),
        Text("Begin one:      thermograd run -- python train.py", style="dim"),
        Text("Another folder: thermograd --runs DIR watch --all", style="dim"),
        Text("What has ended: thermograd runs", style="dim"),
    ]


def _left_out(rows: list[dict[str, Any]]) -> Text:
    states = Counter(row["state"] for row in rows)
    told = [f"{many} {state}" for state, many in sorted(states.items())]
    critical = sum(row["gravest_severity"] == "critical" for row in rows)
    told += [f"{critical} of them with a critical alert"] if critical else []
    return Text(f"and {len(rows)} more: {', '.join(told)}", style="bold red" if critical else "dim")
