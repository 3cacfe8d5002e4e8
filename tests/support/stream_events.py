"""Recordings of known truth as events: coupled series, several ranks, and how they may be delivered."""

import math
import random

import numpy as np
from thermograd.analysis.calibration.processes import cont
from thermograd.store.events import Event, column_names

SECOND = 10**9
EPOCH = 1_764_000_000 * SECOND


def event(kind, writer, seq, time_ns, **values):
    base = dict.fromkeys(column_names(kind))
    stamp = {"seq": seq, "time_ns": time_ns, "monotonic_ns": time_ns - EPOCH}
    return Event(kind, writer, {**base, **stamp, **values})


def recording(seconds=700, rho=0.6, lag=4, seed=1, devices=("gpu",)):
    """Two steps and two samples a second; the innovations of norm and temperature are coupled."""
    pair = cont(np.random.default_rng(seed), seconds, rho, lag)
    rng = random.Random(seed)
    events = []
    for second in range(seconds):
        start = EPOCH + second * SECOND
        for half in (0, 1):
            seq = 2 * second + half
            norm = math.exp(0.05 * float(pair.x[second]) + rng.gauss(0, 0.01))
            events.append(
                event("step", "r0", seq, start + (2 + 5 * half) * SECOND // 10, step=seq + 1, rank=0,
                      grad_norm=norm, learning_rate=1e-3 * (1 - second / 2000), step_time_s=0.5)
            )  # fmt: skip
            for at, device in enumerate(devices):
                heat = float(pair.y[second]) if not at else rng.gauss(0, 1)
                events.append(
                    event("sample", "agent", seq * len(devices) + at,
                          start + (3 + 5 * half) * SECOND // 10 + at, device=device,
                          temperature_c=60.0 + heat, utilization_pct=98.0 + rng.random(),
                          throttled_thermal_ns=0)
                )  # fmt: skip
    return events


def delivered(rng, events, delay_s):
    """Events in order of arrival: each writer's own order kept, each at most `delay_s` after its time."""
    clock, keyed = {}, []
    for each in events:
        at = each.values["time_ns"] + rng.random() * delay_s * SECOND
        clock[each.writer, each.kind] = at = max(at, clock.get((each.writer, each.kind), 0.0))
        keyed.append((at, len(keyed), each))
    return [each for _, _, each in sorted(keyed, key=lambda entry: entry[:2])]


def busy(seed=2):
    """Four ranks with spikes and a NaN, two devices, one of them coupled."""
    rng = random.Random(seed)
    events = recording(500, seed=seed, devices=("gpu", "other"))
    for rank in (1, 2, 3):
        for each in [e for e in events if e.writer == "r0"]:
            values = each.values | {"rank": rank, "time_ns": each.values["time_ns"] + rank}
            events.append(Event("step", f"r{rank}", values))
    for each in events:
        if each.kind == "step":
            step, rank = each.values["step"], each.values["rank"]
            loss = 2.0 + 0.01 * rng.random()
            each.values["loss"] = loss * 3 if (step, rank) in {(300, 1), (303, 2), (700, 3)} else loss
            if step == 450:
                each.values["grad_norm"] *= 50.0
            if (step, rank) == (600, 2):
                each.values["grad_norm"] = math.nan
    return sorted(events, key=lambda e: (e.values["time_ns"], e.writer, e.kind, e.values["seq"]))
