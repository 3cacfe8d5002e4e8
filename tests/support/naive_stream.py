"""Slow, obvious versions of the stream layer's estimators, and recordings of known truth."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from thermograd.ingest.simulate.gpu import SimulatedGpu


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson by two passes in extended precision; None where a side does not vary."""
    x, y = np.asarray(pairs, dtype=np.longdouble).T
    away_x, away_y = x - x.mean(), y - y.mean()
    sd_x, sd_y = np.sqrt((away_x**2).mean()), np.sqrt((away_y**2).mean())
    if sd_x <= 1e-9 * abs(x.mean()) or sd_y <= 1e-9 * abs(y.mean()):
        return None
    return float((away_x * away_y).mean() / sd_x / sd_y)


def spikes(
    values: Sequence[float],
    k: float = 6.75,
    window: int = 128,
    ratio: float = 1.3,
    warmup: int = 20,
    rebase: int = 20,
    usual: bool = True,
) -> list[tuple[bool, float | None]]:
    """(detected, threshold) of the winsorised rolling rule, each from its whole window."""
    learnt: list[float] = []
    alarms: list[float] = []
    lows: list[float] = []
    result: list[tuple[bool, float | None]] = []
    distances: list[float] = []
    for x in values:
        recent = learnt[-window:]
        threshold = mean = None
        if len(recent) >= warmup:
            mean = math.fsum(recent) / len(recent)
            sd = math.sqrt(math.fsum((v - mean) ** 2 for v in recent) / (len(recent) - 1))
            reach = 2.5 * max(sd, 0.01 * abs(mean))
            weights = [(1 - 1 / window) ** age for age in range(len(distances))][::-1]
            if usual and sum(weights) >= window / 2:
                squares = math.fsum(w * d * d for w, d in zip(weights, distances, strict=True))
                sd = min(sd, math.sqrt(squares / sum(weights)))
            distances.append(min(abs(x - mean), reach))
            factor = k if len(recent) >= 64 else 1.5 * k
            threshold = mean + max(factor * sd, factor * 0.01 * abs(mean), (ratio - 1) * abs(mean))
        detected = threshold is not None and x > threshold
        result.append((detected, threshold))
        alarms = [*alarms, x] if detected else []
        lows = [*lows, x] if mean is not None and x * ratio < mean else []
        if len(alarms) == rebase:
            learnt, alarms, distances = alarms, [], []
        elif len(lows) == rebase:
            learnt, lows, distances = lows, [], []
        else:
            learnt.append(x if threshold is None else min(x, threshold))
    return result


def joined(
    steps: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]], tolerance_ns: int
) -> list[tuple[int, str, int | None]]:
    """(step seq, device, sample seq) of every step and device, by looking at every sample."""
    rows = []
    for device in sorted({str(sample["device"]) for sample in samples}):
        own = [s for s in samples if s["device"] == device]
        for step in sorted(steps, key=lambda s: (s["time_ns"], s["seq"])):
            near = [s for s in own if abs(s["time_ns"] - step["time_ns"]) <= tolerance_ns]
            best = min(
                near,
                key=lambda s: (abs(s["time_ns"] - step["time_ns"]), s["time_ns"], -s["seq"]),
                default=None,
            )
            rows.append((step["seq"], device, None if best is None else best["seq"]))
    return rows


@dataclass
class Recording:
    """Samples at 10 Hz of a simulated GPU in a scenario, and when it was truly throttled."""

    samples: list[tuple[float, dict[str, Any]]]
    truth: list[tuple[float, float]]
    temperature_limit_c: float


THROTTLED = ("airflow_fail", "airflow_hard", "inlet_rise", "dust", "brake")
UNTHROTTLED = (
    "healthy", "ragged", "phases", "warm", "power_cap", "admin_cap", "batch_change", "contention",
)  # fmt: skip
SCENARIOS = THROTTLED + UNTHROTTLED


def record(scenario: str, preset: str = "dc", seed: int = 0, seconds: float = 700.0) -> Recording:
    """Run one scenario; whatever goes wrong begins after 300 s."""
    gpu = SimulatedGpu(preset, seed=seed)
    rng = random.Random(seed)
    samples, losses, ragged = [], [], 0.97
    max_mhz = gpu.part.max_clock_mhz
    if scenario == "warm":  # steady just below the limit
        gpu.airflow = 0.42 if preset == "dc" else 0.62
    for tick in range(round(seconds * 10)):
        now_s = 0.1 * (tick + 1)
        failing = now_s > 300.0
        if scenario == "airflow_fail" and failing:
            gpu.airflow = 0.35
        elif scenario == "airflow_hard" and failing:
            gpu.airflow = 0.15
        elif scenario == "dust":
            gpu.airflow = max(0.25, 1.0 - 0.9 * now_s / seconds)
        elif scenario == "inlet_rise" and failing:
            gpu.inlet_c = min((now_s - 300.0) * 0.3, 45.0)
        elif scenario == "brake":
            gpu.brake = 300.0 < now_s <= 400.0
        elif scenario == "admin_cap" and failing:
            gpu.clock_cap_mhz = 0.8 * max_mhz
        elif scenario == "power_cap" and failing:
            gpu.power_limit_w = 0.7 * gpu.part.power_limit_w
        load = 0.97 - 0.04 * rng.random()
        if scenario == "phases" and now_s % 160.0 > 120.0:
            load = 0.0
        elif scenario == "ragged":
            load = rng.choice([0.4, 0.7, 0.97]) if tick % 10 == 0 else ragged
        elif scenario in ("batch_change", "contention") and failing:
            load *= 0.7 if scenario == "batch_change" else rng.choice([0.3, 0.6, 1.0])
        ragged = load
        gpu.advance(0.1, load)
        reading = gpu.read()
        samples.append((now_s, reading))
        slowed = bool(reading["clock_event_mask"] & 0xE8)
        others_mhz = min(max_mhz, gpu._power_cap_mhz)
        losses.append(1.0 - gpu.clock_mhz / others_mhz if slowed else 0.0)
    return Recording(samples, _intervals(losses), gpu.describe()["temperature_limit_c"])


def _intervals(losses: Sequence[float]) -> list[tuple[float, float]]:
    """Stretches of at least 5 s in which the 2 s mean of the clock loss is at least 5 %."""
    mean = np.convolve(losses, np.ones(20) / 20)[: len(losses)]
    found: list[tuple[float, float]] = []
    begin: float | None = None
    for tick, high in enumerate([*(mean >= 0.05), False]):
        now_s = 0.1 * (tick + 1)
        if high and begin is None:
            begin = now_s
        elif not high and begin is not None:
            if now_s - begin >= 5.0:
                found.append((begin, now_s))
            begin = None
    merged: list[tuple[float, float]] = []
    for start, end in found:
        if merged and start - merged[-1][1] < 30.0:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
