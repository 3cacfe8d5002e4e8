"""A load beside the training: it works in hot blocks, rests in others, and ends with its training."""

import os
import subprocess
import sys
import time

import psutil
import pytest
from thermograd.ingest.experiment.arms import burner
from thermograd.ingest.experiment.arms.arm import Refusal, Scene
from thermograd.ingest.experiment.arms.burner import BurnerArm, cores_for
from thermograd.store.experiment.schedules import Assignment

HOT, COOL = (Assignment(i, 10 * i, 10 * i + 9, 0.1, 0, level) for i, level in enumerate(("hot", "cool")))
LONGEST_S = 300.0  # the load is of low priority: on a busy machine it waits for its turn


def wait_for(condition, what):
    until_s = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < until_s, f"waited too long for {what}"
        time.sleep(0.01)


@pytest.fixture
def arm():
    arm = BurnerArm.from_options({"load": 0.01})  # one core
    yield arm
    arm.close()


def prepared(arm, **scene):
    notes = []
    place = Scene(note=lambda text, **detail: notes.append((text, detail)), **scene)
    wait_for(lambda: arm.prepare(place) is not False, "the load")
    return notes


def the_load(notes):
    (told,) = notes[0][1]["burner"]
    return psutil.Process(told["pid"])


def test_the_load_works_in_hot_blocks_alone_and_is_low_in_priority(arm):
    notes = prepared(arm)
    load = the_load(notes)
    assert "it competes: step time is an outcome of this arm" in notes[0][0]
    assert (load.nice(), os.getpgid(load.pid)) == (min(os.nice(0) + 10, 19), load.pid)
    work = lambda: sum(load.cpu_times()[:2])  # noqa: E731
    rested = work()
    arm.begin(HOT)
    wait_for(lambda: work() > rested + 0.1, "the work")
    arm.after_step(1, 0.1)
    done = arm.end()
    assert (done.steps, done.failed) == (1, None)
    assert done.detail["load_cpu_s"] >= 0.1
    arm.begin(COOL)
    seen = [work()]
    wait_for(lambda: seen.append(work()) or seen[-1] == seen[-2], "the rest")
    arm.after_step(11, 0.1)
    assert (arm.end().steps, arm.options()) == (1, {"load": 0.01, "step_time_is": "outcome"})
    arm.close()
    assert not load.is_running()


def test_a_load_that_has_ended_is_told_and_the_block_is_not_applied(arm):
    load = the_load(prepared(arm))
    load.kill()
    wait_for(lambda: arm._loads[0].process.poll() is not None, "its end")
    arm.begin(HOT)
    arm.after_step(1, 0.1)
    done = arm.end()
    assert (done.steps, done.failed) == (0, "the load has ended, with exit code -9")


def test_a_load_that_does_not_work_is_refused(arm, monkeypatch, tmp_path):
    script = tmp_path / "burning.py"
    script.write_text("print('RuntimeError: no memory')")
    monkeypatch.setattr(burner, "_SCRIPT", script)
    with pytest.raises(Refusal, match="does not work: RuntimeError: no memory"):
        prepared(arm)


def test_of_a_node_only_one_rank_loads_the_cores(arm):
    assert prepared(arm, local_rank=1) == []
    arm.begin(HOT)
    arm.after_step(1, 0.1)
    assert (arm.end().steps, arm.end().detail) == (1, {})


@pytest.mark.parametrize("value", ["half", 0, 1.5, float("nan"), True])
def test_a_load_that_is_no_share_is_refused_at_once(value):
    with pytest.raises(ValueError, match="allowed: a share of the cores"):
        BurnerArm.from_options({"load": value})


def test_a_share_of_the_cores_is_at_least_one_of_those_that_we_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2, 3, 8}, raising=False)
    assert [cores_for(load) for load in (0.01, 0.5, 1)] == ["8", "3,8", "1,2,3,8"]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert cores_for(0.5) == "x2"


TRAINING = """
import os, time
from thermograd.ingest.experiment.arms.arm import Scene
from thermograd.ingest.experiment.arms.burner import BurnerArm
from thermograd.store.experiment.schedules import Assignment
arm = BurnerArm(0.01)
scene = Scene(note=lambda text, **detail: print(detail["burner"][0]["pid"], flush=True))
while arm.prepare(scene) is False:
    time.sleep(0.01)
arm.begin(Assignment(0, 0, 9, 0.1, 0, "hot"))
if os.fork() == 0:
    time.sleep(600)  # a worker that keeps the pipe open
print("hot", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, for a worker that keeps a pipe open")
def test_the_load_ends_with_a_training_that_is_killed_though_its_workers_live():
    child = subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE, text=True)
    load = psutil.Process(int(child.stdout.readline()))
    assert child.stdout.readline() == "hot\n"
    (worker,) = [each for each in psutil.Process(child.pid).children() if each.pid != load.pid]
    child.kill()
    child.wait()
    wait_for(lambda: not load.is_running() or load.status() == psutil.STATUS_ZOMBIE, "the load's end")
    worker.kill()
    child.stdout.close()
