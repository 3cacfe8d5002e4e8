"""What the page of a run tells beside its panels: state, pace, devices as they are now, alerts, evidence."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from thermograd.analysis.report.data.hardware import missing_reason
from thermograd.analysis.run.series import Device
from thermograd.analysis.serve.live.recording import Recording
from thermograd.store.events import was_watched
from thermograd.store.log.watched import read_watched
from thermograd.store.telling.advice import ADVICE
from thermograd.store.telling.columns import signal
from thermograd.store.telling.devices import is_simulated
from thermograd.store.telling.episodes import Episode, ends_of, fold_alerts, how_often, told_episodes

_SHOWN = {
    "temperature_c": "Temp.",
    "power_w": "Power",
    "sm_clock_mhz": "Clock",
    "utilization_pct": "Util.",
    "memory_used_bytes": "Memory",
}  # what each is called where there is room for a word
_SCALES = {"memory_used_bytes": (2.0**30, "GiB")}
_PACE_S, _PACE_STEPS = 30.0, 5000
_STALE_INTERVALS, _STALE_S = 5.0, 5.0
_MOST_EPISODES, _MOST_ALERTS = 30, 10_000

Told = dict[str, Any]


def run_state(recording: Recording) -> Told:
    """Return the state of a run as it is now; what is not known is None."""
    run = recording.run
    end, hosts = run.end(), list(run.silent_hosts())
    state = "silent" if end.state == "crashed" and hosts else end.state
    origin_ns, _ = recording.span_ns()
    step = recording.last_step()
    return {
        "run_id": run.run_id,
        "name": run.name,
        "state": state,
        "reason": None if state == "silent" else end.reason,
        "silent_hosts": hosts,
        "now_ms": time.time_ns() // 10**6,
        "origin_ms": origin_ns // 10**6,
        "newest_ms": None if recording.newest_ns is None else recording.newest_ns // 10**6,
        "simulated": [
            recording.labels()[n] for n in recording.labels() if is_simulated(n, recording.devices.get(n))
        ],
        "step": None if step is None else step["step"],
        "loss": _number(None if step is None else step["loss"]),
        "grad_norm": _number(None if step is None else step["grad_norm"]),
        "steps": recording.steps(),
        "ranks": len(recording.ranks),
        "steps_per_s": steps_per_s(recording) if state == "live" else None,
        "version": recording.version,
    }


def _simulated(recording: Recording) -> list[str]:
    known = recording.devices
    return [label for name, label in recording.labels().items() if is_simulated(name, known.get(name))]


def steps_per_s(recording: Recording) -> float | None:
    """Return how fast the steps of the last half minute came; None for fewer than two."""
    times = recording.step_times_ns(_PACE_STEPS)
    recent = times[times >= times[-1] - round(_PACE_S * 1e9)] if times.size else times
    span_s = (int(recent[-1]) - int(recent[0])) / 1e9 if recent.size > 1 else 0.0
    return float(f"{(recent.size - 1) / span_s:.4g}") if span_s > 0 else None


def devices_now(recording: Recording) -> list[Told]:
    """Return the latest reading of every device, with why one is missing; those that gave none too."""
    labels = recording.labels()
    return [_device(recording, name, label) for name, label in labels.items()]


def _device(recording: Recording, name: str, label: str) -> Told:
    last, facts = recording.last[name], recording.devices.get(name, {})
    device = Device(name, facts, _NOTHING, label)
    return {
        "label": label,
        "simulated": device.simulated,
        "time_ms": int(last["time_ns"]) // 10**6,
        "stale_s": _stale_s(recording),
        "values": [_reading(last, device, key) for key in _SHOWN],
    }


_NOTHING: Any = None  # of a device of which only the facts are asked


def _stale_s(recording: Recording) -> float:
    hz = recording.run.facts.get("sampling_hz")
    known = isinstance(hz, int | float) and math.isfinite(hz) and hz > 0
    return max(_STALE_S, _STALE_INTERVALS / hz) if known and hz else _STALE_S


def _reading(last: Mapping[str, Any], device: Device, key: str) -> Told:
    scale, unit = _SCALES.get(key, (1.0, signal(key).symbol))
    value = _number(last.get(key))
    reason = missing_reason(device, key) if value is None else ""
    return {
        "title": signal(key).title,
        "short": _SHOWN[key],
        "unit": unit,
        "value": None if value is None else float(f"{value / scale:.4g}"),
        "reason": reason,
    }


def alerts_now(recording: Recording) -> Told:
    """Return the alerts, what repeats as one, the latest first; each with what to look at first."""
    alerts = recording.alerts[-_MOST_ALERTS:]
    told, more = told_episodes(fold_alerts(alerts, ends_of(recording.marks)), _MOST_EPISODES)
    origin_ns, _ = recording.span_ns()
    labels = recording.labels()
    return {
        "watched": bool(recording.alerts) or was_watched(recording.marks),
        "count": len(recording.alerts),
        "more": more,
        "episodes": [
            _episode(episode, labels, origin_ns) for episode in sorted(told, key=lambda e: -e.last_ns)
        ],
    }


def _episode(episode: Episode, labels: Mapping[str, str], origin_ns: int) -> Told:
    return {
        "alert": episode.alert,
        "severity": episode.severity,
        "count": episode.count,
        "often": how_often(episode),
        "message": str(episode.worst.get("message") or ""),
        "devices": [labels.get(name, name) for name in episode.devices],
        "from_s": (episode.first_ns - origin_ns) / 1e9,
        "last_s": (episode.last_ns - origin_ns) / 1e9,
        "end_s": (episode.end_ns - origin_ns) / 1e9,
        "look_at": ADVICE.get(episode.alert),
    }


def evidence_now(recording: Recording) -> Told | None:
    """Return where the coupling monitor of the run's agents stands; None where none was left."""
    left = read_watched(recording.run.path)
    if not left:
        return None
    labels, devices = recording.labels(), {}
    for state in reversed(left):
        for name, told in state["devices"].items():
            if isinstance(told, dict):
                devices[name] = _evidence(labels.get(name, name), told, state)
    return {"devices": list(devices.values())}


def _evidence(label: str, told: Mapping[str, Any], state: Mapping[str, Any]) -> Told:
    pairs = told.get("pairs")
    known = {k: v for k, v in pairs.items() if isinstance(v, dict)} if isinstance(pairs, dict) else {}
    return {
        "label": label,
        "time_ms": state["time_ns"] // 10**6,
        "e_value": _number(told.get("e_value")),
        "bound": _number(state.get("bound")),
        "alarm_e_value": _number(told.get("alarm_e_value")),
        "alarm_bound": _number(state.get("alarm_bound")),
        "withheld": _number(told.get("withheld")),
        "is_taxed": told.get("is_taxed") is True,
        "pairs": [_pair(column, pair) for column, pair in known.items()],
    }


def _pair(column: str, pair: Mapping[str, Any]) -> Told:
    numbers = {name: _number(pair.get(name)) for name in ("run_e_value", "strength", "lag_s", "memory_s")}
    return {"title": signal(column).title} | numbers


def _number(value: Any) -> float | None:
    """Return a number that is finite; None for anything else."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
