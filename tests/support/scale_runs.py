"""Runs of any number of devices and any length, written at once from arrays as sealed files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.store.events import SETTINGS_MARK, arrow_schema
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.telling.episodes import ENDED_MARK

START_NS = 1_780_000_000 * 10**9
HOT, SLOW = 3, 5  # places of the device that runs hottest, and of the one that is throttled for power
_FACTS = {
    "model": "NVIDIA H100 80GB HBM3",
    "rated_power_w": 700.0,
    "temperature_limit_c": 87.0,
    "missing": {"fan_pct": "passively cooled"},
}
_CPU = {
    "model": "Example CPU",
    "sensors": ["utilization_pct", "memory_used_bytes"],
    "missing": {
        "temperature_c": "no temperature sensor in /sys/class/hwmon, as in a virtual machine",
        "power_w": "no power sensor: /sys/class/powercap cannot be read by this user",
        "sm_clock_mhz": "no clock in /sys/devices/system/cpu",
    },
}

Columns = dict[str, Any]


def device_names(devices: int) -> list[str]:
    """Return names as NVML gives them."""
    return [f"GPU-{0x3F2A0000 + 0x1357 * k:08x}-0000-4000-8000-{k:012x}" for k in range(devices)]


def scale_run(
    folder: Path,
    devices: int = 8,
    seconds: float = 60.0,
    samples: int = 120,
    steps: int = 120,
    *,
    alerts: int = 0,
    ended: bool = True,
    cpu: bool = True,
    seed: int = 0,
    name: str = "scale",
) -> Run:
    """Write a run of so many GPUs, and a CPU, over so many seconds; counts are of each device.

    The device at place `HOT` runs hottest and has all `alerts`, that at `SLOW` the lowest clock.
    Where they `ended` the log says when.
    """
    rng = np.random.default_rng(seed)
    names = device_names(devices)
    facts = {each: _FACTS | {"index": place} for place, each in enumerate(names)}
    facts |= {"cpu": _CPU} if cpu else {}
    hz = samples / seconds
    base = {"started_time_ns": START_NS, "sampling_hz": hz, "devices": facts}
    run = create_run(folder, name, base)
    write_events(run, "host-r0", "step", _steps(rng, steps, seconds))
    for place, device in enumerate(names):
        columns = _samples(rng, samples, seconds, place, alerts)
        write_events(run, f"host-a{place}", "sample", columns | {"device": [device] * samples})
    if cpu:
        columns = _times(samples, seconds) | {"device": ["cpu"] * samples}
        columns["utilization_pct"] = np.clip(35 + 10 * rng.normal(size=samples), 0, 100)
        columns["memory_used_bytes"] = 4e10 + 2e10 * np.arange(samples) / samples
        write_events(run, "host-a-cpu", "sample", columns)
    if alerts and devices > HOT:
        told = _alerts(rng, alerts, seconds, names[HOT])
        write_events(run, "host-s0", "alert", told)
        if ended:
            write_events(run, "host-s2", "mark", _ends(told, 0.4 * seconds / alerts))
    mark = _times(1, seconds) | {"mark": ["note"], "text": [SETTINGS_MARK]}
    write_events(run, "host-s1", "mark", mark)
    return run


def _times(count: int, seconds: float) -> Columns:
    elapsed_ns = (np.arange(count) * (seconds * 1e9 / max(1, count))).astype(np.int64)
    return {"seq": np.arange(count), "time_ns": START_NS + elapsed_ns, "monotonic_ns": 10**12 + elapsed_ns}


def _steps(rng: np.random.Generator, count: int, seconds: float) -> Columns:
    course = np.arange(count) / max(1, count)
    return _times(count, seconds) | {
        "step": np.arange(1, count + 1),
        "rank": np.zeros(count, dtype=np.int64),
        "loss": 2 + 6 * np.exp(-5 * course) + 0.05 * rng.normal(size=count),
        "grad_norm": np.exp(0.3 * rng.normal(size=count) + 1 - course),
        "max_grad_norm": np.ones(count),
        "learning_rate": 3e-4 * np.minimum(1, 20 * course) * (1 + np.cos(np.pi * course)) / 2,
        "step_time_s": seconds / max(1, count) * (1 + 0.03 * np.abs(rng.normal(size=count))),
        "tokens": np.full(count, 4_194_304),
    }


def _samples(rng: np.random.Generator, count: int, seconds: float, place: int, alerts: int) -> Columns:
    time_s = np.arange(count) * seconds / max(1, count)
    warm = 1 - np.exp(-time_s / min(600.0, seconds / 4))
    hot = (place == HOT) * (np.sin(2 * np.pi * time_s / max(seconds / 20, 20.0)) > 0.2) * warm
    hot *= bool(alerts)
    power = 640 + 8 * (place % 5) + 12 * rng.normal(size=count) - 180 * hot
    clock = 1900 - 2 * place + 15 * np.round(rng.normal(size=count)) - 700 * hot - 120 * (place == SLOW)
    throttled_ns = np.cumsum(hot * (0.6 + 0.4 * rng.random(count))) * seconds / max(1, count) * 1e9
    return _times(count, seconds) | {
        "utilization_pct": np.clip(96 + 2 * rng.normal(size=count), 0, 100),
        "power_w": power,
        "temperature_c": 40
        + (24 + place % 7 + 14 * (place == HOT)) * warm
        + np.round(rng.normal(size=count)),
        "sm_clock_mhz": clock,
        "memory_used_bytes": 6.9e10 + 1e9 * (place % 3) + 1e8 * rng.random(count),
        "throttled_thermal_ns": throttled_ns.astype(np.int64),
        "throttled_power_ns": np.zeros(count, dtype=np.int64),
    }


def _alerts(rng: np.random.Generator, count: int, seconds: float, device: str) -> Columns:
    onsets_s = np.sort(rng.uniform(0.05 * seconds, 0.95 * seconds, count))
    times = _times(count, seconds)
    times["time_ns"] = START_NS + (1e9 * (onsets_s + 2)).astype(np.int64)
    return times | {
        "alert": ["collapse.thermal"] * count,
        "severity": ["critical"] * count,
        "device": [device] * count,
        "onset_time_ns": START_NS + (1e9 * onsets_s).astype(np.int64),
        "message": [f"{device}: the clock fell to 1,200 MHz while throttled for heat"] * count,
    }


def _ends(alerts: Columns, lasted_s: float) -> Columns:
    """Return marks that say when what each alert told of ended."""
    columns = zip(alerts["alert"], alerts["device"], alerts["onset_time_ns"].tolist(), strict=True)
    times = {name: alerts[name] for name in ("seq", "time_ns", "monotonic_ns")}
    details = [
        {
            "alert": alert,
            "device": device,
            "onset_time_ns": onset,
            "end_time_ns": onset + round(1e9 * lasted_s),
        }
        for alert, device, onset in columns
    ]
    told = {"mark": [ENDED_MARK] * len(details), "text": alerts["alert"]}
    return times | told | {"detail": list(map(json.dumps, details))}


def write_events(run: Run, writer: str, kind: str, columns: Columns) -> None:
    """Write all events of a writer as one sealed file; columns that are not given are null."""
    schema = arrow_schema(kind, run.run_id, writer)
    count = len(columns["seq"])
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema
    ]
    path = run.path / "sealed" / kind / f"{writer}-{0:012}-{count - 1:012}.parquet"
    write_parquet(path, pa.table(arrays, schema=schema), kind)
