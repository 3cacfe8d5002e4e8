"""How soon silence is found, and how often where there is none; prints one markdown table.

``devices``: faults planted in the stand-in for NVIDIA's library (tests/support/fake_nvml.c), at 5 Hz, in real
time, each in a sampler of its own: a GPU that is lost, a sensor that fails, a call that does not return, one
reading that takes ten periods. ``ranks``: processes stopped and killed at random moments. ``quiet``: 24 hours
of a node with four ranks and nothing wrong, simulated: steps from 0.1 to 300 s, evaluations, checkpoints,
samples that come late, looks that find a process stopped for a moment. Every alert is raised again by a
replay of the events.
"""

import argparse
import heapq
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scipy.stats import binomtest
from thermograd.ingest.agent import ranks as ranks_module
from thermograd.ingest.agent.ranks import RankWatch
from thermograd.ingest.agent.sampler import Sampler
from thermograd.ingest.agent.silence import DeviceSilence
from thermograd.ingest.devices.nvml import NvmlReader
from thermograd.store.events import Event, column_names
from thermograd.store.files import write_json, writer_file
from thermograd.store.processes import process_facts
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.pipeline.replay import replay_events

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

HZ, PERIOD_NS, SECOND = 5.0, 200_000_000, 10**9
UNKNOWN_ERROR = 999
FAULTS = ("the GPU is lost", "one sensor fails", "a call hangs", "a reading takes ten periods")


class Log:
    """A writer in memory, with the numbers that a log gives."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._next: dict[str, int] = {}
        self._lock = threading.Lock()

    def append(self, kind: str, /, **values: Any) -> None:
        """Keep an event."""
        with self._lock:
            seq = self._next.get(kind, 0)
            self._next[kind] = seq + 1
            at = {"seq": seq, "time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
            self.events.append(Event(kind, "agent", dict.fromkeys(column_names(kind)) | at | values))

    def alerts(self, is_replay: bool = False) -> list[dict[str, Any]]:
        """Return what a monitor raises of the events as they came, or a replay of them."""
        if is_replay:
            ordered = sorted(self.events, key=lambda e: (e.values["time_ns"], e.kind, e.values["seq"]))
            return replay_events(ordered, {}).alerts
        monitor = Monitor({})
        return [alert for event in self.events for alert in monitor.process(event)] + monitor.close()


@contextmanager
def sampled(reader: NvmlReader) -> Iterator[Log]:
    """Sample a reader while the block lasts, beside a host's reader that answers at once."""
    log, stop = Log(), threading.Event()
    sampler = Sampler([reader, _Host()], log, HZ)  # type: ignore[arg-type]
    thread = threading.Thread(target=sampler.run, args=(stop,))
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()


class _Host:
    def read(self) -> list[dict[str, Any]]:
        return [{"device": "cpu", "utilization_pct": 50.0}]

    def marks(self) -> list[dict[str, Any]]:
        return []

    def take_failures(self) -> int:
        return 0

    def close(self) -> None:
        return


def plant(gpu: Any, fault: str) -> None:
    """Let a GPU of the stand-in fail from now on."""
    if fault == FAULTS[0]:
        gpu.lost = 1
    elif fault == FAULTS[1]:
        gpu.fail("utilization", UNKNOWN_ERROR)
    else:
        gpu.delay_us = 2_000_000 if fault == FAULTS[3] else 1_200_000


def device_trial(fake: Any, fault: str, rng: random.Random) -> tuple[float, bool]:
    """Return after how many periods a planted fault was told, and whether a replay finds the same."""
    gpu = fake.gpus[rng.randrange(2)]
    with sampled(NvmlReader({})) as log:
        time.sleep(1.2 + rng.random() * PERIOD_NS / 1e9)
        planted_ns = time.time_ns()
        plant(gpu, fault)
        time.sleep(0.9)
        gpu.delay_us, gpu.lost = 0, 0
        gpu.fail("utilization", 0)
    told = [a for a in log.alerts() if a["alert"] in ("silent.device", "sensor.gap")]
    same = told == [a for a in log.alerts(True) if a["alert"] in ("silent.device", "sensor.gap")]
    ours = [a for a in told if a["time_ns"] >= planted_ns and a["metric"] != "time_ns"]
    if len(ours) != 1 or len(told) != 1:
        return float("inf"), same
    return (ours[0]["time_ns"] - planted_ns) / PERIOD_NS, same


def devices(trials: int, rng: random.Random) -> Iterator[str]:
    """Plant each fault so often; yield a row each."""
    import ctypes

    import fake_nvml
    import pynvml

    with tempfile.TemporaryDirectory() as folder:
        fake = fake_nvml.FakeNvml(fake_nvml.build(Path(folder) / "lib"), Path(folder) / "state")
        os.environ["THERMOGRAD_FAKE_NVML"] = str(fake.path)
        pynvml.nvmlLib = ctypes.CDLL(str(fake.library))
        for fault in FAULTS:
            found = [device_trial(fake, fault, rng) for _ in range(trials)]
            yield found_row(fault, [periods for periods, _ in found], all(same for _, same in found))


def rank_trials(how: int, trials: int, rng: random.Random) -> list[float]:
    """Stop or kill processes at random moments, a few at a time; return after how many looks each is told."""
    found: list[float] = []
    while len(found) < trials:
        found += rank_round(how, min(20, trials - len(found)), rng)
    return found


def rank_round(how: int, count: int, rng: random.Random) -> list[float]:
    """Return after how many looks each of some processes was told."""
    children = [
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "writers").mkdir()
        created = {child.pid: ranks_module.psutil.Process(child.pid).create_time() for child in children}
        for rank, child in enumerate(children):
            name = f"node-r{rank}-{child.pid}-0a1b2c"
            about = {"writer": name, "role": "training", "pid": child.pid}
            write_json(
                writer_file(path, name), process_facts() | about | {"process_created_s": created[child.pid]}
            )
        told, hit = looked(RankWatch(lambda: path), children, how, rng)
    for child in children:
        child.kill()
        child.communicate()
    return [told.get(rank, float("inf")) - hit[rank] for rank in range(count)]


def looked(
    watch: RankWatch, children: list[Any], how: int, rng: random.Random
) -> tuple[dict[int, float], dict[int, float]]:
    """Look once a second while each process is hit at its moment; return when each was told, and was hit."""
    begun_s = time.monotonic()
    due = {rank: 1.0 + 5.0 * rng.random() for rank in range(len(children))}
    told: dict[int, float] = {}
    hit: dict[int, float] = {}
    look_at_s = 0.0
    while len(told) < len(children) and time.monotonic() - begun_s < 12.0:
        now_s = time.monotonic() - begun_s
        for rank in [rank for rank, at_s in due.items() if at_s <= now_s]:
            os.kill(children[rank].pid, how)
            hit[rank] = time.monotonic() - begun_s
            del due[rank]
        if now_s >= look_at_s:
            look_at_s += 1.0
            for mark in watch.look():
                told |= dict.fromkeys(json.loads(mark["detail"])["ranks"], time.monotonic() - begun_s)
        time.sleep(0.01)
    return told, hit


def found_row(what: str, periods: list[float], is_same: bool | None = None) -> str:
    """Return a row: how many were told once and within three periods, and when."""
    found = sum(each <= 3.0 for each in periods)
    low = binomtest(found, len(periods)).proportion_ci(method="exact").low
    known = sorted(each for each in periods if each < float("inf"))
    middle, longest = (known[len(known) // 2], known[-1]) if known else (float("nan"), float("nan"))
    told = f"{found} of {len(periods)} (95 % from {low:.3f}) | {middle:.2f}, {longest:.2f}"
    return f"| {what} | {told} | {'' if is_same is None else 'identical' if is_same else 'DIFFERENT'} |"


def step_times(seconds: float, rng: random.Random) -> Iterator[tuple[float, float]]:
    """Yield end and length of the steps of one rank: regimes of 0.1 to 300 s, pauses of minutes."""
    now_s, usual_s = 0.0, 1.0
    while now_s < seconds:
        if rng.random() < 0.002:
            usual_s = 0.1 * 3000.0 ** rng.random()
        pause_s = rng.choice((20.0, 120.0, 600.0)) if rng.random() < 0.002 else 0.0
        step_s = usual_s * rng.lognormvariate(0.0, 0.3)
        now_s += step_s + pause_s
        yield now_s, step_s


def event_at(kind: str, writer: str, seq: int, at_ns: int, **values: Any) -> Event:
    """Return an event of the simulated node; both clocks began at its start."""
    at = {"seq": seq, "time_ns": 1_795_000_000 * SECOND + at_ns, "monotonic_ns": at_ns}
    return Event(kind, writer, dict.fromkeys(column_names(kind)) | at | values)


def quiet_samples(hours: float, rng: random.Random, marks: list[Any]) -> Iterator[Event]:
    """Yield the samples of three devices that come up to a period late; keep what is marked as silent."""
    silence, seq = DeviceSilence(PERIOD_NS), 0
    for tick in range(round(hours * 3600 * HZ)):
        for reader, names in (("nvml", ("gpu0", "gpu1")), ("host", ("cpu",))):
            begun_ns = tick * PERIOD_NS + round(rng.expovariate(1 / 2e6))
            end_ns = begun_ns + min(PERIOD_NS, round(rng.lognormvariate(16.5, 0.8)))  # 15 ms, and more
            silence.begins(reader, begun_ns)
            marks += silence.look(end_ns)
            slow = {"fan_pct": 40.0} if tick % 10 == 0 else {}
            rows = [
                {"device": n, "power_w": 300.0 + rng.random(), "temperature_c": 66.0} | slow for n in names
            ]
            silence.ends(reader, end_ns, rows, None, end_ns)
            for row in rows:
                yield event_at("sample", "agent", seq, end_ns, **row)
                seq += 1


def quiet_steps(hours: float, rank: int) -> Iterator[Event]:
    """Yield the steps of one rank."""
    for number, (end_s, step_s) in enumerate(step_times(hours * 3600, random.Random(rank)), 1):
        values = {"step": number, "rank": rank, "step_time_s": step_s}
        yield event_at("step", f"node-r{rank}-1-0a1b2c", number - 1, round(end_s * 1e9), **values)


def quiet_ranks(hours: float, rng: random.Random) -> int:
    """Return how many marks a watch of four ranks writes where each is stopped for a look now and then."""
    states: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "writers").mkdir()
        for rank in range(4):
            about = {"writer": f"node-r{rank}-1-0a1b2c", "role": "training"}
            write_json(writer_file(path, about["writer"]), process_facts() | about)
        watch, marks = RankWatch(lambda: path, state_of=lambda _: states.pop("now", "runs")), 0  # type: ignore[arg-type]
        for _ in range(round(hours * 3600)):
            if not states and rng.random() < 0.01:
                states["now"] = rng.choice(("stopped", "traced"))
                marks += len(watch.look())
            marks += len(watch.look())
    return marks


def quiet(hours: float, rng: random.Random) -> str:
    """Return the row of hours in which nothing is wrong."""
    marks: list[Any] = []
    count = Counter[str]()
    streams = [quiet_samples(hours, rng, marks), *(quiet_steps(hours, rank) for rank in range(4))]

    def counted() -> Iterator[Event]:
        for event in heapq.merge(*streams, key=lambda event: event.values["time_ns"]):
            count[event.kind] += 1
            yield event

    names = ("silent.device", "silent.rank", "silent.agent", "sensor.gap")
    alerts = [a for a in replay_events(counted(), {}, marks=()).alerts if a["alert"] in names]
    false = len(alerts) + len(marks) + quiet_ranks(hours, rng)
    told = f"{count['sample']:,} samples, {count['step']:,} steps of 4 ranks"
    return f"| {hours:g} h of nothing wrong | {false} false | {told} | |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("devices", "ranks", "quiet"), action="append")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, what = random.Random(given.seed), given.only or ("devices", "ranks", "quiet")
    print(
        "| planted | told once, within three periods | periods: median, longest | replay |\n|---|---|---|---|"
    )
    if "devices" in what:
        for row in devices(given.trials, rng):
            print(row, flush=True)
    if "ranks" in what:
        for name, how in (("SIGSTOP", signal.SIGSTOP), ("SIGKILL", signal.SIGKILL)):
            print(found_row(f"a rank, {name}", rank_trials(how, given.trials, rng)), flush=True)
    if "quiet" in what:
        print(quiet(given.hours, rng), flush=True)


if __name__ == "__main__":
    main()
