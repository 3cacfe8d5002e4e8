"""Whether a power limit always comes back, however the training that had lowered it ends.

A child trains under the cap arm; NVIDIA's library is the stand-in of the tests, whose limit stays when a
process is gone, as a GPU's does. The child ends in order, by an exception, by SIGTERM, or by SIGKILL, the
signals at a random moment of a cool block; then the parent waits for the limit that was there before. In
two more rows the agent is killed with the training, and the next run, or `thermograd doctor`, has to do it.
In the last somebody else sets the limit meanwhile: theirs has to stay. Bounds are Clopper-Pearson's, 95 %.

    python benchmarks/experiment_cap.py --trials 25
"""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from scipy.stats import beta
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import fake_nvml

FOUND_MW, CAP_MW, THEIRS_MW = 350_000, 210_000, 180_000
LONGEST_S = 90.0
TRAINING = """
import signal, sys, time
import pynvml
from thermograd.ingest.run import start_run
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
runs, way, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
asked = {"arm": "cap", "power_w": 210, "block_steps": 40, "start_step": 5, "seed": seed}
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
with start_run("capped", runs, hz=2, card=False, experiment=asked) as run:
    capped = 0
    while way == "forever" or capped < 10 + 60 * (way == "end") + seed % 20:
        time.sleep(0.005)
        run.step(loss=1.0, grad_norm=1.0)
        capped += pynvml.nvmlDeviceGetPowerManagementLimit(gpu) == 210000
    if way == "exception":
        raise RuntimeError("a batch that cannot be")
"""


class Place:
    """One trial's folder, with a machine of its own: GPUs, runs, and where the records lie."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.fake = fake_nvml.FakeNvml(library, folder / "gpus")
        self.runs, self.folder = folder / "runs", folder
        ours = {
            "THERMOGRAD_STATE": str(folder / "state"),
            "CUDA_VISIBLE_DEVICES": "0",
            "THERMOGRAD_CARD": "0",
        }
        self.environment = os.environ | self.fake.environment() | ours | {"OMP_NUM_THREADS": "1"}

    @property
    def limit_mw(self) -> int:
        """The GPU's limit now."""
        return int(self.fake.gpus[0].limit_mw)

    def wait(self, limit_mw: int, child: "subprocess.Popen[bytes] | None" = None) -> float | None:
        """Wait for a limit; return how long that took, None where it does not come."""
        begun = time.monotonic()
        while self.limit_mw != limit_mw:
            if time.monotonic() - begun > LONGEST_S or (child is not None and child.poll() is not None):
                return None
            time.sleep(0.002)
        return time.monotonic() - begun

    def start(self, way: str, seed: int) -> "subprocess.Popen[bytes]":
        """Start a training."""
        command = [sys.executable, "-c", TRAINING, str(self.runs), way, str(seed)]
        errors = (self.folder / "stderr").open("ab")
        return subprocess.Popen(command, env=self.environment, stderr=errors, stdout=errors)

    def records(self) -> list[Path]:
        """Return the records that are left."""
        while True:
            with suppress(FileNotFoundError):  # a folder that vanished meanwhile
                ours = self.folder.glob("state/power_limits/*.json")
                return [*self.folder.glob("runs/*/power_limits/*"), *ours]

    def told(self) -> list[str]:
        """Return who says in a mark that it has put the limit back."""
        marks = [mark for run in list_runs(self.runs) for mark in read_kind(run.path, "mark").to_pylist()]
        found = [
            re.search(r"put back by ((?:the|its|an) \w+)|(left as it is)", mark["text"] or "")
            for mark in marks
        ]
        return [str(each[1] or each[2]) for each in found if each is not None]


def ends_itself(place: Place, seed: int, way: str) -> float | None:
    """Let a training end by itself."""
    child = place.start(way, seed)
    if place.wait(CAP_MW, child) is None:
        return None
    child.wait(LONGEST_S)
    return place.wait(FOUND_MW)


def killed(place: Place, seed: int, number: int) -> float | None:
    """End a training by a signal."""
    child = place.start("forever", seed)
    if place.wait(CAP_MW, child) is None:
        return None
    time.sleep(random.Random(seed).uniform(0, 0.5))
    if place.wait(CAP_MW, child) is None:  # it was in a hot block
        return None
    child.send_signal(number)
    begun = time.monotonic()
    child.wait(LONGEST_S)  # from here on a block that ends gives nothing back
    return None if place.wait(FOUND_MW) is None else time.monotonic() - begun


def both_killed(place: Place, seed: int, then: Callable[[Place], object]) -> float | None:
    """Kill a training and its agent; then see what comes after."""
    child = place.start("forever", seed)
    if place.wait(CAP_MW, child) is None:
        return None
    processes = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
    processes[0].suspend()  # or it might be quicker than we are
    if place.limit_mw != CAP_MW:
        place.wait(CAP_MW, child)
    for process in reversed(processes):
        process.kill()
    child.wait(LONGEST_S)
    if place.limit_mw != CAP_MW:
        return None
    then(place)
    return place.wait(FOUND_MW)


def doctor(place: Place) -> None:
    """Look at the machine."""
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(place.runs), "doctor"]
    subprocess.run(command, env=place.environment, check=True, capture_output=True)


def next_run(place: Place) -> None:
    """Train something else."""
    script = (
        f"from thermograd.ingest.run import start_run\nstart_run('next', {str(place.runs)!r}, hz=2).close()"
    )
    subprocess.run([sys.executable, "-c", script], env=place.environment, check=True, capture_output=True)


def set_meanwhile(place: Place, seed: int) -> float | None:
    """Set the limit as an administrator would, then kill the training."""
    child = place.start("forever", seed)
    if place.wait(CAP_MW, child) is None:
        return None
    place.fake.gpus[0].limit_mw = THEIRS_MW
    child.kill()
    child.wait(LONGEST_S)
    begun = time.monotonic()
    while place.records() and time.monotonic() - begun < LONGEST_S:
        time.sleep(0.002)
    return time.monotonic() - begun if place.limit_mw == THEIRS_MW and not place.records() else None


WAYS: dict[str, Callable[[Place, int], float | None]] = {
    "normal end": lambda place, seed: ends_itself(place, seed, "end"),
    "exception": lambda place, seed: ends_itself(place, seed, "exception"),
    "SIGTERM": lambda place, seed: killed(place, seed, signal.SIGTERM),
    "SIGINT": lambda place, seed: killed(place, seed, signal.SIGINT),
    "SIGKILL": lambda place, seed: killed(place, seed, signal.SIGKILL),
    "SIGKILL, agent too; next run": lambda place, seed: both_killed(place, seed, next_run),
    "SIGKILL, agent too; doctor": lambda place, seed: both_killed(place, seed, doctor),
    "set by somebody else, SIGKILL": set_meanwhile,
}


def tries(library: Path, way: str, trials: int) -> None:
    """Print one row: how often the limit came back, with its bounds, and after what time."""
    took, by = [], Counter[str]()
    for seed in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            place = Place(library, Path(folder))
            seconds = WAYS[way](place, seed)
            deadline = time.monotonic() + 15
            while place.records() and time.monotonic() < deadline:
                time.sleep(0.02)
            if seconds is None or place.records():
                text = (Path(folder) / "stderr").read_text() if (Path(folder) / "stderr").exists() else ""
                print(
                    f"  {way}, seed {seed}: {place.limit_mw} mW, {len(place.records())} records left\n{text}"
                )
            else:
                took.append(seconds)
            _wait_for_agents(Path(folder))
            by.update(place.told())
    k, n = len(took), trials
    low, high = beta.ppf(0.025, k, n - k + 1) if k else 0.0, beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    times = f"{1e3 * statistics.median(took):.0f} | {1e3 * max(took):.0f}" if took else "- | -"
    who = ", ".join(f"{name} {count}" for name, count in by.most_common())
    print(f"| {way} | {k} of {n} | {low:.3f} to {high:.3f} | {times} | {who} |", flush=True)


def _wait_for_agents(folder: Path) -> None:
    """Let the agents of a trial end before its folder goes."""
    for _ in range(200):
        lines = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
        if not any(str(folder) in word for line in lines for word in line):
            return
        time.sleep(0.3)


def main() -> None:
    """Try every way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--way", action="append", choices=list(WAYS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = fake_nvml.build(Path(folder) / "library")
        print("| end | limit as found, no record left | 95 % | ms to it, median | largest | put back by |")
        print("|---|---|---|---|---|---|")
        for way in asked.way or WAYS:
            tries(library, way, asked.trials)


if __name__ == "__main__":
    main()
