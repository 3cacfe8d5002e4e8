"""Small recorded runs of known content, written through the real log."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

START_NS = 1_750_000_000 * 10**9


def make_run(
    runs_dir: Path,
    steps: int = 300,
    seconds: float = 150.0,
    spikes: Sequence[int] = (),
    with_samples: bool = True,
    nan: Sequence[int] = (),
    simulated: bool = False,
    *,
    name: str = "synthetic",
    device: str = "GPU-0",
    hz: float = 2.0,
    injections: Sequence[int] = (),
    collapse_s: float | None = None,
    zeros: Sequence[int] = (),
    facts: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Run:
    """Write a run with one GPU and a CPU without power and temperature sensors.

    Parameters
    ----------
    runs_dir
        Directory of runs.
    steps, seconds
        Optimizer steps, evenly over so many seconds from `START_NS` on.
    spikes
        Steps whose gradient norm is 40 times the usual and has a `spike.grad` alert.
    with_samples
        Whether devices were sampled, at `hz`, for the same time.
    nan
        Steps whose gradient norm is NaN.
    simulated
        Whether the GPU is a simulated one.
    name, device
        What the run and the GPU are called.
    injections
        Steps with an `injection` mark.
    collapse_s
        Second at which a `collapse.thermal` alert begins.
    zeros
        Steps whose gradient norm is 0.
    facts
        More facts for ``run.json``.
    seed
        Of the noise.
    """
    gpu = {
        "model": "Test GPU",
        "simulated": simulated,
        "rated_power_w": 300.0,
        "temperature_limit_c": 90.0,
        "sensors": ["utilization_pct", "power_w", "temperature_c"],
        "missing": {"fan_pct": "passively cooled"},
    }
    cpu = {
        "model": "Test CPU",
        "sensors": ["utilization_pct"],
        "missing": {"power_w": "no power sensor", "temperature_c": "no sensor in a virtual machine"},
    }
    devices = {device: gpu, "cpu": cpu} if with_samples else {}
    base = {"started_time_ns": START_NS, "sampling_hz": hz, "devices": devices}
    run = create_run(runs_dir, name, base | dict(facts or {}))
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=8192)
    rng = np.random.default_rng(seed)
    _write_steps(writer, rng, steps, seconds, spikes, nan, zeros)
    if with_samples:
        _write_samples(writer, rng, device, round(seconds * hz), hz)
    for step in injections:
        writer.append(
            "mark", _step_ns(step, steps, seconds) - 1, mark="injection", step=step, text="a bad batch"
        )
    if collapse_s is not None:
        onset_ns = START_NS + round(collapse_s * 1e9)
        told: dict[str, Any] = {
            "alert": "collapse.thermal",
            "severity": "critical",
            "device": device,
            "message": "too hot",
        }
        writer.append("alert", onset_ns + 10**9, onset_time_ns=onset_ns, **told)
    account = json.dumps({"joined": steps, "unmatched": 0, "late": 3})
    writer.append("mark", START_NS, mark="note", text="the stream layer's own account", detail=account)
    writer.close()
    return run


def _step_ns(step: int, steps: int, seconds: float) -> int:
    return START_NS + round(step * seconds / max(1, steps) * 1e9)


def _write_steps(
    writer: EventWriter,
    rng: np.random.Generator,
    steps: int,
    seconds: float,
    spikes: Sequence[int],
    nan: Sequence[int],
    zeros: Sequence[int],
) -> None:
    noise = rng.normal(size=(steps, 2))
    for step in range(1, steps + 1):
        norm = math.exp(0.1 * noise[step - 1, 0]) * (40.0 if step in spikes else 1.0)
        norm = math.nan if step in nan else 0.0 if step in zeros else norm
        time_ns = _step_ns(step, steps, seconds)
        writer.append(
            "step",
            time_ns,
            step=step,
            rank=0,
            loss=2.0 + 3.0 / step + 0.05 * float(noise[step - 1, 1]),
            grad_norm=norm,
            learning_rate=1e-3 * (1 - step / (steps + 1)),
            step_time_s=seconds / steps,
        )
        if step in spikes:
            told: dict[str, Any] = {
                "metric": "grad_norm",
                "value": norm,
                "message": f"step {step}: grad_norm {norm:.3g}",
            }
            writer.append(
                "alert",
                time_ns,
                alert="spike.grad",
                severity="warning",
                step=step,
                onset_time_ns=time_ns,
                **told,
            )


def _write_samples(writer: EventWriter, rng: np.random.Generator, device: str, count: int, hz: float) -> None:
    noise = rng.normal(size=(count, 3))
    for i in range(count):
        time_ns = START_NS + round(i / hz * 1e9)
        writer.append(
            "sample",
            time_ns,
            device=device,
            utilization_pct=float(min(100.0, 95 + noise[i, 0])),
            power_w=250.0 + 5 * float(noise[i, 1]),
            temperature_c=40.0 + 30 * (1 - math.exp(-i / hz / 60)) + 0.3 * float(noise[i, 2]),
        )
        writer.append("sample", time_ns, device="cpu", utilization_pct=50.0 + 5 * float(noise[i, 0]))
