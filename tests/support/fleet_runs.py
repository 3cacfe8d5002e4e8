"""Many small runs with known truth, written straight as sealed files: cheap enough for thousands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scale_runs import START_NS, Columns, write_events
from scipy.signal import lfilter
from thermograd.store.files import write_json
from thermograd.store.runs.catalogue import Run

_DAY_NS = 86_400 * 10**9
_LAG_S = 3


def fleet_runs(
    folder: Path,
    count: int,
    *,
    coupled: int = 0,
    rho: float = 0.5,
    steps: int = 2000,
    samples: int = 1000,
    seed: int = 0,
    models: tuple[str, ...] = ("NVIDIA H100 80GB HBM3",),
) -> Iterator[Run]:
    """Write runs at one sample a second, of which the first `coupled` have a power that follows the norm.

    All share what fools a naive correlation: the norm falls, the device heats up. Hosts take turns.
    """
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        strength = rho if place < coupled else 0.0
        facts = {
            "format_version": 1,
            "run_id": f"fleet-{place:05}",
            "name": f"fleet {place}",
            "source": "simulated",
            "host": f"node{place % 16:02}",
            "started_time_ns": START_NS + place * _DAY_NS // 24,
            "devices": {f"GPU-{place % 64:08x}": {"model": models[place % len(models)], "index": 0}},
        }
        run = Run(folder / f"fleet-{place:05}")
        run.path.mkdir(parents=True)
        write_json(run.path / "run.json", facts)
        step, sample = _series(rng, steps, samples, strength, facts["started_time_ns"])
        write_events(run, "host-r0", "step", step)
        write_events(run, "host-a0", "sample", sample | {"device": [f"GPU-{place % 64:08x}"] * samples})
        yield run


def _series(
    rng: np.random.Generator, steps: int, samples: int, rho: float, start_ns: int
) -> tuple[Columns, Columns]:
    seconds = np.arange(samples, dtype=np.float64)
    course = seconds / samples
    news = rng.standard_normal(samples)  # what is new in the norm in every second
    norm = 1 - course + 0.2 * lfilter([1], [1, -0.6], news)
    answer = rho * np.roll(news, _LAG_S) + np.sqrt(1 - rho**2) * rng.standard_normal(samples)
    power = 500 + 10 * lfilter([1], [1, -0.5], answer) + 40 * (1 - np.exp(-5 * course))
    heat = 45 + 0.5 * lfilter([1], [1, -0.97], rng.standard_normal(samples)) + 20 * (1 - np.exp(-4 * course))
    at = (np.arange(steps) + 1) * samples / steps  # seconds at which each step ends
    second = np.minimum(np.ceil(at).astype(int) - 1, samples - 1)
    count = np.arange(steps)
    step = _times(at, start_ns) | {
        "step": count + 1,
        "rank": np.zeros(steps, dtype=np.int64),
        "loss": 2 + 3 * np.exp(-3 * count / steps) + 0.05 * rng.standard_normal(steps),
        "grad_norm": np.exp(norm[second] + 0.05 * rng.standard_normal(steps)),
        "learning_rate": 3e-4 * (1 + np.cos(np.pi * count / steps)) / 2,
        "step_time_s": samples / steps * (1 + 0.02 * np.abs(rng.standard_normal(steps))),
    }
    sample = _times(seconds + 1, start_ns) | {
        "utilization_pct": np.clip(96 + rng.standard_normal(samples), 0, 100),
        "power_w": power,
        "temperature_c": np.round(heat, 1),
        "sm_clock_mhz": 1900 + 15 * np.round(rng.standard_normal(samples)),
    }
    return step, sample


def _times(seconds: np.ndarray[Any, Any], start_ns: int) -> Columns:
    elapsed_ns = np.round(seconds * 1e9).astype(np.int64)
    return {
        "seq": np.arange(seconds.size),
        "time_ns": start_ns + elapsed_ns,
        "monotonic_ns": 10**12 + elapsed_ns,
    }
