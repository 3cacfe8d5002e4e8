"""What a death right after the first steps costs: acknowledged steps lost, runs that cannot be read.

Each death is of a process of its own, 0 to 300 ms after its first step, by ``os._exit(3)`` or SIGKILL, in a
directory of runs that is new or has runs already. Most are forked from a Python that has imported thermograd
and nothing else of it, and sealed by a thread of ours while they are read; the others are fresh Pythons, with
and without an agent that seals. A step is acknowledged when ``run.step``, or the optimizer's ``step`` on the
CPU, has returned; the process counts these in a shared mapping that survives it. The run is read at once and
again and again until it is sealed: every reading must find every acknowledged step.
"""

import itertools
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from log_kill import COUNT
from rows import HEADER, load, parser, row
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.processes import host_label
from thermograd.store.runs.catalogue import Run, list_runs

_WITHIN_S = 0.3
_PRELOAD = ["thermograd.ingest.run", "psutil"]
_PATIENCE_S = 60.0
_COUNTING = f"""
import mmap, os, sys, time
file, dies_after_s, pause_s = open(sys.argv[1], "r+b"), float(sys.argv[2]), float(sys.argv[3])
counter, first_s = mmap.mmap(file.fileno(), {COUNT.size}), None
def count(step):
    global first_s
    counter[:] = step.to_bytes({COUNT.size}, "little")
    first_s = first_s or time.perf_counter()
    if 0 <= dies_after_s <= time.perf_counter() - first_s:
        os._exit(3)
    if pause_s:
        time.sleep(pause_s)
"""
_BY_HAND = """
import itertools, thermograd
run = thermograd.start_run("early", agent=sys.argv[4] == "agent")
for step in itertools.count(1):
    run.step(loss=step / 7, grad_norm=1.0, learning_rate=1e-3, step=step)
    count(step)
"""
_MODEL = """
import itertools, torch
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
"""
_LOOP = """
for step in itertools.count(1):
    model(torch.ones(2, 4)).pow(2).mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    count(step)
"""
_START = """
import thermograd
run = thermograd.start_run("early", agent=sys.argv[4] == "agent")
run.watch(optimizer)
"""
_FORKED = "run.step, forked"
_SCRIPTS = {
    "run.step": _COUNTING + _BY_HAND,
    "run.watch": _COUNTING + _MODEL + _START + _LOOP,
    "thermograd run": _COUNTING + _MODEL + _LOOP,
}


class Death(NamedTuple):
    """One way to die: which script, by what, how soon, at which pace, with what beside it."""

    script: str
    by: str
    after_s: float
    pause_s: float
    has_agent: bool
    is_first: bool


class Outcome(NamedTuple):
    """What one death did: `seen` is the least that any reading found."""

    acknowledged: int
    seen: int
    states: frozenset[str]
    harm: str


def plan(count: int, script: str, rng: random.Random) -> Iterator[Death]:
    """Yield deaths of all kinds in turn, the moments drawn."""
    for number in range(count):
        yield Death(
            script,
            ("os._exit", "SIGKILL")[number % 2],
            rng.choice((0.0, rng.uniform(0, _WITHIN_S))),
            rng.choice((0.0, 0.0, 0.001, 0.01)),
            script != _FORKED and (number // 2 % 2 == 0 or script == "thermograd run"),
            number // 4 % 2 == 0,
        )


def die(folder: Path, death: Death, number: int) -> Outcome:
    """Let one process die and read what is left, as soon as it is dead and until nothing happens any more."""
    runs = folder / (f"runs-{number}" if death.is_first else "runs")
    before = {run.run_id for run in list_runs(runs)}
    counter = folder / "acknowledged"
    counter.write_bytes(COUNT.pack(0))
    if death.script == _FORKED:
        acknowledged = _fork(runs, counter, death)
    else:
        acknowledged = _start(folder, runs, counter, death)
    run = next(run for run in list_runs(runs) if run.run_id not in before)
    return _look(run, acknowledged, death)


def _fork(runs: Path, counter: Path, death: Death) -> int:
    given = (str(runs), str(counter), death.after_s if death.by == "os._exit" else -1.0, death.pause_s)
    process = multiprocessing.get_context("forkserver").Process(target=_train, args=given)
    process.start()
    assert process.pid is not None
    return _wait_until_dead(process.is_alive, lambda: process.pid, counter, death)


def _train(runs: str, counter: str, dies_after_s: float, pause_s: float) -> None:
    """Log steps until the time has come, or somebody kills us."""
    from thermograd.ingest.run import start_run

    with open(counter, "r+b") as file:
        acknowledged = mmap.mmap(file.fileno(), COUNT.size)
    run, first_s = start_run("early", runs, agent=False), None
    for step in itertools.count(1):
        run.step(loss=step / 7, grad_norm=1.0, learning_rate=1e-3, step=step)
        COUNT.pack_into(acknowledged, 0, step)
        first_s = first_s or time.perf_counter()
        if 0 <= dies_after_s <= time.perf_counter() - first_s:
            os._exit(3)
        if pause_s:
            time.sleep(pause_s)


def _start(folder: Path, runs: Path, counter: Path, death: Death) -> int:
    script = folder / "train.py"
    script.write_text(_SCRIPTS[death.script])
    own_s = death.after_s if death.by == "os._exit" else -1.0
    command = [sys.executable, str(script), str(counter), str(own_s), str(death.pause_s)]
    command.append("agent" if death.has_agent else "no agent")
    if death.script == "thermograd run":
        command = [sys.executable, "-P", "-m", "thermograd.cli", "--runs", str(runs), "run", "--", *command]
    environment = os.environ | {"THERMOGRAD_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, env=environment, stderr=said, stdout=said, cwd=folder)
        return _wait_until_dead(
            lambda: process.poll() is None, lambda: _training_process(process), counter, death
        )


def _wait_until_dead(
    is_alive: Callable[[], bool], pid: Callable[[], int | None], counter: Path, death: Death
) -> int:
    """Kill the process some time after its first step, if it does not die by itself; return its count."""
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), COUNT.size) as shared:
        end_s = time.monotonic() + _PATIENCE_S
        is_killed = death.by != "SIGKILL"
        while is_alive():
            if not is_killed and COUNT.unpack(shared[:])[0]:
                time.sleep(death.after_s)
                os.kill(pid() or 0, signal.SIGKILL)
                is_killed = True
            if time.monotonic() > end_s:
                raise RuntimeError("the training did not end")
            time.sleep(0.0005)
        return int(COUNT.unpack(shared[:])[0])


def _training_process(process: "subprocess.Popen[bytes]") -> int:
    """Return the process that trains: that of a launcher is its child."""
    import psutil

    children = psutil.Process(process.pid).children()
    trainers = [c.pid for c in children if "train.py" in " ".join(c.cmdline())]
    return trainers[0] if trainers else process.pid


def _look(run: Run, acknowledged: int, death: Death) -> Outcome:
    """Read a run until it is sealed and its agent gone, then once more."""
    seen, states = acknowledged, set()
    agent_lock = run.path / f"agent-{host_label()}.lock"
    sealer = threading.Thread(target=seal_run, args=(run.path, run.run_id))
    if death.script == _FORKED:
        sealer.start()
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        is_over = not sealer.is_alive()
        is_over &= not (death.has_agent and (agent_lock.exists() or not _has_agent_been(run)))
        seen = min(seen, run.counts()["step"], len(read_kind(run.path, "step")))
        states.add(run.state())
        if is_over:
            break
    harm = _harm(run)
    seal_run(run.path, run.run_id)
    steps = read_kind(run.path, "step").column("step").to_pylist()
    kept = len(set(range(1, acknowledged + 1)) & set(steps))
    harm = harm or _harm(run) or "steps out of order" * (steps != list(range(1, len(steps) + 1)))
    return Outcome(acknowledged, min(seen, kept), frozenset(states), harm)


def _harm(run: Run) -> str:
    """Return what `verify` finds; empty where every file is whole."""
    return "; ".join(
        f"{entry['path']}: {entry['reason']}" for entry in verify_run(run.path)["files"] if "reason" in entry
    )


def _has_agent_been(run: Run) -> bool:
    return any(writer.get("role") == "agent" and "closed_time_ns" in writer for writer in run.writers())


def _states(death: Death) -> set[str]:
    """Return the states that a dead run may have: who launched it is told, a moment later, how it ended."""
    is_told = death.script == "thermograd run" and death.by == "os._exit"
    return {"crashed", "failed"} if is_told else {"crashed"}


def main() -> None:
    """Let them die, count and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--deaths", type=int, nargs=4, default=None, help="forked, by hand, watched, launched"
    )
    options = arguments.parse_args()
    deaths = options.deaths or ((8, 4, 2, 2) if options.quick else (1600, 200, 120, 80))
    print(f"{load()}\n\n{HEADER}", flush=True)
    multiprocessing.set_forkserver_preload(_PRELOAD)
    for script, count in zip((_FORKED, *_SCRIPTS), deaths, strict=True):
        if count:
            _report(script, list(plan(count, script, random.Random(options.seed))))


def _report(script: str, deaths: list[Death]) -> None:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for number, death in enumerate(deaths):
            outcome = die(Path(folder), death, number)
            outcomes.append(outcome)
            if outcome.seen < outcome.acknowledged or outcome.harm or outcome.states - _states(death):
                said = Path(folder) / "said"
                text = said.read_text(errors="replace") if said.exists() else ""
                print(f"{death}\n{outcome}\n{text}", file=sys.stderr, flush=True)
            shutil.rmtree(Path(folder) / f"runs-{number}", ignore_errors=True)
    acknowledged = sum(outcome.acknowledged for outcome in outcomes)
    lost = sum(outcome.acknowledged - outcome.seen for outcome in outcomes)
    broken = sum(bool(outcome.harm) for outcome in outcomes)
    odd = sum(bool(o.states - _states(d)) for o, d in zip(outcomes, deaths, strict=True))
    states = Counter(state for outcome in outcomes for state in outcome.states)
    told = ", ".join(f"{state} {count:,}" for state, count in states.most_common())
    measured = f"{lost} lost of {acknowledged:,} acknowledged; {broken} runs not whole; state {told}"
    ok = lost == broken == odd == 0
    goal = "0 acknowledged steps lost, every run whole and dead"
    print(row(f"{len(deaths):,} early deaths, `{script}`", goal, measured, "-", "-", ok), flush=True)


if __name__ == "__main__":
    main()
