"""The stream layer, processor time an event: one whole layer over long streams of steps and samples."""

import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import Goal
from thermograd.store.events import Event
from thermograd.stream.coupling.bets import Row
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.pipeline.monitor import Monitor

SECOND = 10**9
EIGHT = tuple(f"gpu{place}" for place in range(8))


def events(devices: Sequence[str] = ("a", "b"), every: int = 5) -> Iterator[Event]:
    """Ten steps a second, a sample of each device at every so-manieth; spikes and throttling now and then."""
    rng = random.Random(0)
    seqs = {"step": 0, "sample": 0}
    tick = 0
    while True:
        tick += 1
        time_ns = 1_764_000_000 * SECOND + tick * SECOND // 10
        hot = tick % 6000 > 5700
        norm = math.exp(rng.gauss(0.0, 0.1)) * (20.0 if rng.random() < 5e-4 else 1.0)
        common = {"time_ns": time_ns, "monotonic_ns": tick * SECOND // 10}
        step = {"step": tick, "rank": 0, "loss": 2.0 + 0.05 * rng.random(), "grad_norm": norm,
                "learning_rate": 1e-4, "step_time_s": 0.1}  # fmt: skip
        yield Event("step", "r0", {"seq": seqs["step"], **common, **step})
        seqs["step"] += 1
        for device in devices if tick % every == 0 else ():
            clock_mhz = 1500.0 if hot else 1980.0
            sample = {"device": device, "temperature_c": 87.0 if hot else 60.0 + rng.gauss(0.0, 0.5),
                      "power_w": 500.0 + rng.gauss(0.0, 9.0), "sm_clock_mhz": clock_mhz,
                      "utilization_pct": 97.0, "clock_event_mask": 0x20 if hot else 0,
                      "throttled_thermal_ns": 0}  # fmt: skip
            yield Event("sample", "agent", {"seq": seqs["sample"], **common, **sample})
            seqs["sample"] += 1


def us_an_event(devices: Sequence[str], every: int, chunks: int, chunk: int) -> tuple[float, float]:
    """Return least and median of the chunks, the first fifth left out, in microseconds an event."""
    stream, taken = events(devices, every), []
    monitor = Monitor({device: {"temperature_limit_c": 87.0} for device in devices})
    for _ in range(chunks):
        batch = list(islice(stream, chunk))
        begun = time.process_time()
        for event in batch:
            monitor.process(event)
        taken.append(1e6 * (time.process_time() - begun) / chunk)
    kept = sorted(taken[chunks // 5 :])
    return kept[0], kept[len(kept) // 2]


def layer(quick: bool) -> Iterator[Goal]:
    """Measure the whole layer, with two devices at 2 Hz and with eight at 5 Hz, one writer each."""
    chunks = 3 if quick else 15
    for key, of, devices, every, limit_us in (
        ("stream.layer", "10 steps, 2 devices at 2 Hz", ("a", "b"), 5, 40.0),
        ("stream.layer8", "10 steps, 8 devices at 5 Hz", EIGHT, 2, 15.0),
    ):
        least, middle = us_an_event(devices, every, chunks, 1_000 if quick else 7_000)
        measured = f"the least of {chunks} stretches; {middle:.1f} us in the middle"
        yield Goal(key, f"the layer, an event ({of} a second)", least, limit_us, "us", measured)


def coupling(quick: bool) -> Iterator[Goal]:
    """Measure the coupling monitors of eight devices, four sensors each, all of which move."""
    rng, taken = random.Random(1), []
    monitors = [CouplingMonitor(3, sensors=4) for _ in EIGHT]
    for monitor in monitors[1:]:
        monitor.share(monitors[0])
    for _ in range(4 if quick else 16):
        rows = [
            [Row([rng.gauss(0.0, 1.0) for _ in range(5)], [1e-4, 0.1, 97.0], math.nan) for _ in EIGHT]
            for _ in range(160)
        ]
        begun = time.process_time()
        for of_tick in rows:
            CouplingMonitor.update_all(zip(monitors, of_tick, strict=True))
        taken.append(1e6 * (time.process_time() - begun) / len(rows) / len(EIGHT))
    least, *_, middle = (kept := sorted(taken[len(taken) // 4 :]))[: len(kept) // 2 + 1]
    what = "coupling monitors of 8 devices, a device and second"
    measured = f"the least of {len(taken)} stretches; {middle:.0f} us in the middle"
    yield Goal("stream.coupling", what, least, 80.0, "us", measured)


def measure(quick: bool) -> Iterator[Goal]:
    """Measure what an event costs."""
    yield from layer(quick)
    yield from coupling(quick)
