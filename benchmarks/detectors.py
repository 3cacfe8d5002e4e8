"""Detectors against known truth: throttling, efficiency, the whole layer; spikes are in goals/stream.py.

    python benchmarks/detectors.py                         # everything but the long stream
    python benchmarks/detectors.py --only layer --events 10000000

Prints one markdown table: what, measured, goal. The series are those of tests/support, seeded.
"""

import argparse
import math
import pickle
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from thermograd.store.efficiency.estimator import Efficiency
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.throttle import ThrottleDetector

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parent))
from goals.layer import events
from naive_stream import THROTTLED, UNTHROTTLED, Recording, record

Row = tuple[str, str, str]


def cpu_us(function: Callable[[], object], count: int, rounds: int = 5) -> float:
    """Return the least CPU time of some rounds, in microseconds for each of `count`."""
    least = math.inf
    for _ in range(rounds):
        begun = time.process_time()
        function()
        least = min(least, time.process_time() - begun)
    return 1e6 * least / count


def throttling() -> Iterator[Row]:
    """13 scenarios, two parts, two seeds, 25 minutes each, at 1 and 10 Hz."""
    runs = [
        record(scenario, preset, seed, 1500.0)
        for scenario in THROTTLED + UNTHROTTLED
        for preset in ("dc", "desktop")
        for seed in (0, 1)
    ]
    for hz in (1, 10):
        hits = false = missed = 0
        delays: list[float] = []
        for run in runs:
            found = collapses(run, 10 // hz)
            for begin, end in run.truth:
                near = [at for at in found if begin - 10.0 <= at <= end]
                missed += not near
                hits += bool(near)
                delays += [near[0] - begin] if near else []
                found = [at for at in found if at not in near]
            false += len(found)
        hours = len(runs) * 1500.0 / 3600.0
        f1 = 2 * hits / max(2 * hits + false + missed, 1)
        late = sorted(delays)[math.ceil(0.95 * len(delays)) - 1]
        events = f"{hits + missed} events in {hours:.0f} h, {hz} Hz"
        yield f"collapse: F1 ({events})", f"{f1:.3f}", ">= .98"
        yield (
            f"collapse: delay, median / p95 s, {hz} Hz",
            f"{statistics.median(delays):.1f} / {late:.1f}",
            "p95 <= 5",
        )
        yield f"collapse: false per hour, {hz} Hz", f"{false / hours:.2f}", "<= .1"
    one = runs[0]
    yield "throttle: us a sample", f"{cpu_us(lambda: collapses(one, 1), len(one.samples)):.1f}", "<= 5"


def collapses(run: Recording, every: int) -> list[float]:
    """Return the times at which a collapse is told, from each `every`-th sample."""
    detector = ThrottleDetector(run.temperature_limit_c)
    found = []
    for now_s, reading in run.samples[every - 1 :: every]:
        detector.update(now_s, reading)
        found += [now_s for episode in detector.started if episode.condition.startswith("collapse")]
    return found


def efficiency() -> Iterator[Row]:
    """One heating device, sampled at 1, 2, 5 and 10 Hz."""
    rng = random.Random(0)
    wave = [rng.gauss(0.0, 1.0) for _ in range(600)]
    means, onsets = {}, {}
    for hz in (1, 2, 5, 10):
        estimator, rles, onset = Efficiency(300.0, 83.0), [], math.inf
        for tick in range(300 * hz):
            now_s = tick / hz
            bad = now_s >= 120.0
            power_w = 285.0 if bad else 150.0
            temperature_c = min(50.0 + 0.02 * now_s + (0.3 * (now_s - 120.0) if bad else 0.0), 82.0)
            load_pct = 85.0 + 3.0 * wave[int(now_s)] + (20.0 * (int(now_s) % 2) - 10.0 if bad else 0.0)
            estimator.update(now_s, min(load_pct, 100.0), power_w, temperature_c)
            rles.append(estimator.rle or 0.0)
            if estimator.collapse:
                onset = min(onset, now_s)
        means[hz], onsets[hz] = statistics.fmean(rles), onset
    spread = max(means.values()) / min(means.values()) - 1.0
    yield "RLE: mean, 1 to 10 Hz, differs by", f"{100 * spread:.2f} %", "<= 3 %"
    yield (
        "RLE: onset of collapse, 1 to 10 Hz, s",
        f"{max(onsets.values()) - min(onsets.values()):.1f}",
        "<= 1.5",
    )


def layer(count: int) -> Iterator[Row]:
    """Run the whole layer over one long stream."""
    devices = {name: {"temperature_limit_c": 87.0} for name in ("a", "b")}
    monitor = Monitor(devices)
    spent, alerts, done, sizes, resident = 0.0, 0, 0, [], []
    batch = []
    for event in islice(events(tuple(devices), 5), count):
        batch.append(event)
        if len(batch) == 10_000:
            begun = time.process_time()
            for each in batch:
                alerts += len(monitor.process(each))
            spent += time.process_time() - begun
            done += len(batch)
            batch.clear()
            if done % max(count // 10 // 10_000 * 10_000, 10_000) == 0:
                sizes.append(len(pickle.dumps(monitor)))
                resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    yield f"layer: us an event, {done:,} events, {alerts} alerts", f"{1e6 * spent / done:.1f}", "<= 40"
    kib = f"{sizes[1] / 1024:.0f} / {sizes[-1] / 1024:.0f}"
    yield "layer: state after 20 % / 100 % of them, KiB", kib, "bounded"
    mib = f"{resident[1]:.0f} / {resident[-1]:.0f}"
    yield "layer: peak memory of the process after 20 % / 100 %, MiB", mib, "bounded"
    yield (
        "layer: late events, rules that failed",
        f"{monitor.pairs.join.late}, {len(monitor.failures)}",
        "0, 0",
    )


def main() -> None:
    """Parse the arguments and print the table."""
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "throttling": throttling,
        "efficiency": efficiency,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*parts, "layer"])
    parser.add_argument("--events", type=int, default=300_000, help="events of the whole layer")
    arguments = parser.parse_args()
    parts["layer"] = lambda: layer(arguments.events)
    print("| what | measured | goal |\n|---|--:|--:|")
    for name, measure in parts.items():
        if not arguments.only or name in arguments.only:
            for row in measure():
                print(f"| {' | '.join(row)} |")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
