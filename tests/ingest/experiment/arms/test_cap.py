"""The power cap through unmodified pynvml; NVIDIA's library is a stand-in whose limit outlives a process."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import replace
from types import SimpleNamespace

import fake_nvml
import pytest
from fake_nvml import UUIDS
from thermograd.ingest.devices.doctor import describe_machine, examine_machine
from thermograd.ingest.devices.power import records
from thermograd.ingest.devices.power.limits import GpuLimit, may_set_limits
from thermograd.ingest.devices.power.restoring import LimitKeeper, keeper_lock, restore_left
from thermograd.ingest.devices.visible_gpus import Gpu
from thermograd.ingest.experiment.arms.arm import Refusal, Scene
from thermograd.ingest.experiment.arms.cap import CapArm
from thermograd.ingest.experiment.arms.training_gpus import training_gpus
from thermograd.store.experiment.schedules import Assignment
from thermograd.store.locks import ProcessLock
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

FOUND, CAP = 350_000, 210_000
HOT, COOL = (Assignment(i, 10 * i, 10 * i + 9, 0.1, 0, level) for i, level in enumerate(("hot", "cool")))
RANGE = "takes 100 W to 400 W"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return fake_nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake(library, tmp_path, monkeypatch):
    fake = fake_nvml.FakeNvml(library, tmp_path / "gpus")
    fake_nvml.use_in_this_process(monkeypatch, fake)
    monkeypatch.setenv("THERMOGRAD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("thermograd.ingest.devices.nvml._EVENT_WAIT_MS", 20)
    return fake


@pytest.fixture
def gpu(fake):
    return fake.gpus[0]


class Site:
    """A run's directory, its agent's lock, and what was noted."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder, self.notes, self.arms = folder, [], []
        self.keeper = keeper_lock(folder)
        assert self.keeper.acquire()

    def arm(self, model=None, **options):
        self.arms.append(arm := CapArm.from_options(options))
        arm.prepare(
            Scene(
                run_dir=self.folder,
                model=lambda: model,
                note=lambda text, **detail: self.notes.append((text, detail)),
            )
        )
        return arm

    def records(self):
        return [*self.folder.glob("power_limits/*"), *records.machine_folder().glob("*.json")]

    def keep(self, is_over=True):
        """Let the agent look: once, or to its end."""
        told, stop = [], threading.Event()
        self.keeper.release()
        keeper = LimitKeeper(
            lambda: self.folder, lambda kind, **mark: told.append(mark), lambda line: None, stop
        )
        if is_over:
            stop.set()
            keeper.run()
        else:
            keeper._look(False)
        assert keeper.guard.failures == 0
        return told


@pytest.fixture
def site(tmp_path, fake):
    site = Site(tmp_path / "runs" / "first")
    yield site
    for arm in site.arms:
        arm.close()
    site.keeper.release()


def die(arm):
    """Let the kernel do what it does for a process that is killed: its locks are free."""
    for each in arm._gpus:
        each.claim._lock._let_go()
    arm._gpus = []


def run_block(arm, assignment, steps=3):
    arm.begin(assignment)
    for step in range(assignment.first_step, assignment.first_step + steps):
        arm.after_step(step, 0.1)
    return arm.end()


# -- blocks ----------------------------------------------------------------------------------------------


def test_a_cool_block_has_the_lower_limit_and_what_was_found_comes_back(site, gpu, monkeypatch):
    seen = []
    set_mw = GpuLimit.set_mw
    monkeypatch.setattr(
        GpuLimit, "set_mw", lambda gpu, mw: (seen.append((mw, len(site.records()))), set_mw(gpu, mw))[1]
    )
    arm = site.arm()
    arm.begin(COOL)
    assert gpu.limit_mw == CAP
    arm.after_step(10, 0.1)
    done = arm.end()
    assert gpu.limit_mw == FOUND
    assert (done.steps, done.failed, done.detail) == (1, None, {"limits_w": {UUIDS[0]: 210.0}})
    assert run_block(arm, HOT).steps == 3
    arm.begin(COOL)
    arm.close()
    assert gpu.limit_mw == FOUND
    assert seen[0] == (FOUND, 2)  # both records are on the disk before anything is set
    assert seen[1:] == [(CAP, 2), (FOUND, 2)] * 2
    assert site.records() == []
    first, last = site.notes
    assert "found at 350 W; in cool blocks it is 210 W" in first[0]
    assert first[1]["power_limit"]["range_mw"] == [100_000, 400_000]
    assert last[0].endswith("is 350 W again, put back by the training")


def test_the_cap_is_not_below_what_the_gpu_takes_and_only_what_was_given_is_an_option(site, gpu):
    gpu.limit_mw = 150_000
    arm = site.arm()
    arm.begin(COOL)
    assert gpu.limit_mw == 100_000
    assert (arm.options(), CapArm(220.0).options()) == ({"power_share": 0.6}, {"power_w": 220.0})


def test_without_an_agent_that_looks_no_limit_is_set_until_one_does(site, gpu):
    site.keeper.release()
    arm = site.arm()
    done = run_block(arm, COOL)
    assert (gpu.limit_mw, done.steps) == (FOUND, 0)
    assert "no agent of this run looks after the limit" in done.failed
    arm.begin(COOL)
    assert site.keeper.acquire()
    arm.after_step(10, 0.1)
    assert gpu.limit_mw == CAP
    assert (arm.end().steps, arm.end().failed) == (1, None)


def test_what_somebody_else_has_set_stays(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    arm.after_step(10, 0.1)
    gpu.limit_mw = 300_000
    assert arm.end().steps == 1
    done = run_block(arm, COOL)
    assert (done.steps, gpu.limit_mw) == (0, 300_000)
    assert "somebody else has set the limit" in done.failed
    arm.close()
    assert (gpu.limit_mw, site.records()) == (300_000, [])
    assert "left as it is" in site.notes[-1][0]


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (
            lambda gpu: gpu.fail("set_limit", 4),
            {},
            "takes root.*SYS_ADMIN.*the arm duty needs no permission",
        ),
        (lambda gpu: gpu.fail("set_limit", 3), {}, "cannot be set safely"),
        (lambda gpu: gpu.fail("constraints", 3), {}, "cannot be set safely"),
        (lambda gpu: None, {"power_w": 90}, f"power_w is 90 W; .*{RANGE}"),
        (lambda gpu: None, {"power_w": 350}, f"a cap of 350 W is none: .*350 W.*{RANGE}"),
        (lambda gpu: setattr(gpu, "mig", 1), {}, "is divided"),
    ],
    ids=["no permission", "not supported", "no range", "below", "no cap", "mig"],
)
def test_what_cannot_be_done_safely_is_refused_and_leaves_nothing(site, gpu, change, options, sentence):
    change(gpu)
    with pytest.raises(Refusal, match=sentence):
        site.arm(**options)
    assert (gpu.limit_mw, site.records()) == (FOUND, [])
    assert not list(records.machine_folder().glob("*"))


@pytest.mark.parametrize("value", ["200", 0, -5, float("nan"), True])
def test_a_limit_that_is_no_power_is_refused_at_once(value):
    with pytest.raises(ValueError, match="allowed: a power limit in W, above 0"):
        CapArm.from_options({"power_w": value})


def test_no_driver_is_a_refusal(fake, tmp_path, monkeypatch):
    monkeypatch.delenv("THERMOGRAD_FAKE_NVML")
    with pytest.raises(Refusal, match="no NVIDIA GPU whose power could be capped"):
        CapArm().prepare(Scene(run_dir=tmp_path))


def test_a_second_run_is_refused_and_a_second_rank_leaves_it_to_the_first(site, gpu, tmp_path):
    site.arm()
    with pytest.raises(Refusal, match="in the hands of run first .*: one experiment at a time"):
        Site(tmp_path / "runs" / "second").arm()
    other = CapArm()
    other.prepare(Scene(rank=1, run_dir=site.folder))
    assert (run_block(other, COOL).steps, gpu.counts[fake_nvml.CALLS.index("set_limit")]) == (3, 1)


Parameter = namedtuple("Parameter", "device")


def test_a_plain_loops_optimizers_tell_the_gpus_where_no_model_is_known(monkeypatch):
    torch, _ = torch_with()
    monkeypatch.setitem(sys.modules, "torch", torch)
    optimizer = SimpleNamespace(param_groups=[{"params": [Parameter(Device("cuda", 1))]}])
    assert training_gpus(None, [Gpu(uuid, "Test 9000") for uuid in UUIDS], [optimizer]) == ["GPU-uuid-1"]


def torch_with(*devices):
    """Return a stand-in for torch, and a model with parameters there."""
    module = type("Module", (), {"parameters": lambda self: [Parameter(device) for device in devices]})
    uuids = SimpleNamespace(get_device_properties=lambda i: SimpleNamespace(uuid=f"uuid-{i}"))
    return SimpleNamespace(nn=SimpleNamespace(Module=module), cuda=uuids), module()


Device = namedtuple("Device", "type index")


@pytest.mark.parametrize(
    ("devices", "environment", "expected"),
    [
        ((Device("cuda", 1), Device("cuda", 1)), {}, ["GPU-uuid-1"]),
        ((Device("cpu", None),), {}, "parameters are on no GPU"),
        (None, {"CUDA_VISIBLE_DEVICES": "1"}, [UUIDS[1]]),
        (None, {"CUDA_VISIBLE_DEVICES": "1", "LOCAL_WORLD_SIZE": "2"}, [UUIDS[1]]),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, "names none"),
        (None, {"CUDA_VISIBLE_DEVICES": "MIG-1"}, "a part of a GPU"),
        (None, {}, "2 GPUs are here and it is not known which"),
    ],
    ids=["its own", "no gpu", "named", "one rank's", "none", "mig", "unknown"],
)
def test_only_gpus_that_this_training_uses_are_capped(devices, environment, expected, monkeypatch):
    torch, model = torch_with(*devices) if devices else (None, None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    gpus = [Gpu(uuid, "Test 9000") for uuid in UUIDS]
    if isinstance(expected, list):
        assert training_gpus(model, gpus, (), environment) == expected
    else:
        with pytest.raises(Refusal, match=expected):
            training_gpus(model, gpus, (), environment)


# -- after a kill ----------------------------------------------------------------------------------------


def test_the_agent_puts_back_what_a_dead_training_has_left_and_says_so(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    assert site.keep(is_over=False) == []  # the training lives
    assert gpu.limit_mw == CAP
    die(arm)
    (mark,) = site.keep(is_over=False)
    assert (gpu.limit_mw, site.records()) == (FOUND, [])
    assert "is again 350 W, put back by its agent: run first" in mark["text"]
    detail = json.loads(mark["detail"])["power_limit"]
    assert (detail["uuid"], detail["by"], detail["outcome"]) == (UUIDS[0], "its agent", "restored")


def test_an_agent_that_ends_puts_the_limit_back_and_the_training_sets_it_no_more(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    (mark,) = site.keep()
    assert gpu.limit_mw == FOUND
    assert "put back by its agent, which ends" in mark["text"]
    arm.end()
    done = run_block(arm, COOL)
    assert (done.steps, gpu.limit_mw) == (0, FOUND)
    assert "has been put back" in done.failed


def test_a_limit_that_cannot_be_put_back_is_told_and_tried_again(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    die(arm)
    gpu.fail("set_limit", 999)
    (mark,) = site.keep(is_over=False)
    assert f"may still be 210 W: run first (process {os.getpid()})" in mark["text"]
    assert f"as root: nvidia-smi -i {UUIDS[0]} -pl 350" in mark["text"]
    gpu.fail("set_limit", 0)
    (mark,) = site.keep()
    assert (gpu.limit_mw, site.records()) == (FOUND, [])
    assert "is again 350 W" in mark["text"]


@pytest.mark.parametrize("keeps_state", [True, False], ids=["machine", "runs alone"])
def test_where_the_agent_is_dead_too_doctor_puts_it_back(site, gpu, tmp_path, keeps_state, monkeypatch):
    arm = site.arm()
    arm.begin(COOL)
    runs = tmp_path / "runs"
    assert restore_left("nobody", runs) == []  # its owner lives
    die(arm)
    if not keeps_state:  # a container of which nothing is left but the runs
        monkeypatch.setenv("THERMOGRAD_STATE", str(tmp_path / "other"))
    facts = examine_machine(runs)
    (left,) = facts["power_limits_left"]
    assert (left["device"], left["outcome"], left["error"]) == (UUIDS[0], "restored", None)
    assert gpu.limit_mw == FOUND
    text = describe_machine(facts)
    assert "Power limits left behind\n  the power limit of GPU 0 (Test 9000, 1111) is again 350 W" in text
    assert examine_machine(runs)["power_limits_left"] == []


def test_the_next_experiment_finds_what_was_there_before_the_one_that_was_killed(site, gpu, tmp_path):
    arm = site.arm()
    arm.begin(COOL)
    die(arm)
    second = Site(tmp_path / "runs" / "second")
    arm = second.arm()
    assert "found at 350 W" in second.notes[0][0]
    arm.close()
    assert (gpu.limit_mw, second.records()) == (FOUND, [])


def test_of_a_limit_set_by_somebody_else_and_one_of_an_earlier_start_nothing_is_put_back(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    (each,) = arm._gpus
    each.claim.write(replace(each.record, boot_id="another start of this machine"))
    die(arm)
    assert (restore_left("nobody"), gpu.limit_mw) == ([], CAP)
    each.claim.write(each.record)
    gpu.limit_mw = 300_000
    (done,) = restore_left("nobody")
    assert (done.outcome, gpu.limit_mw, site.records()) == ("changed since", 300_000, [])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"uuid": 3}'])
def test_a_damaged_record_is_none(site, gpu, content):
    folder = records.machine_folder()
    folder.mkdir(parents=True)
    (folder / f"{UUIDS[0]}.json").write_text(content)
    assert restore_left("nobody") == []
    site.arm().close()
    assert site.records() == []


def test_who_puts_a_limit_back_has_its_lock(site, gpu):
    arm = site.arm()
    arm.begin(COOL)
    die(arm)
    other = ProcessLock(records.machine_folder(), UUIDS[0])
    assert other.acquire()  # somebody is at it
    assert restore_left("nobody") == []
    other.release()
    assert [done.outcome for done in restore_left("nobody")] == ["restored"]


# -- what a machine can do ---------------------------------------------------------------------------------


def test_doctor_says_whether_power_can_be_capped(fake):
    fake.gpus[1].fail("constraints", 3)
    first, second = examine_machine()["power_cap"][UUIDS[0]], fake.gpus[1].uuid.decode()
    assert (first["limit_w"], first["range_w"]) == (350.0, [100.0, 400.0])
    facts = {"devices": {UUIDS[0]: {}, second: {}}, "absent": {}, "packages": {}, "power_limits_left": []}
    caps = {UUIDS[0]: first | {"is_permitted": None}, second: first | {"range_w": None}}
    text = describe_machine(facts | {"power_cap": caps})
    assert "power cap: 100 W to 400 W; whether it may be set is not known" in text
    assert "power cap: the driver gives no range of limits" in text


@pytest.mark.parametrize(
    ("held", "owners", "expected"),
    [
        ("000001ffffffffff", "0 0 4294967295", True),
        ("00000000a80425fb", "0 0 4294967295", False),
        ("000001ffffffffff", "0 1000 1", False),
        (None, "0 0 4294967295", None),
    ],
    ids=["root", "container", "rootless container", "unknown"],
)
def test_who_may_set_limits_is_known_without_trying(tmp_path, held, owners, expected):
    (tmp_path / "status").write_text(f"Name:\tpython\nCapEff:\t{held}\n" if held else "Name:\tpython\n")
    (tmp_path / "uid_map").write_text(owners + "\n")
    assert may_set_limits(tmp_path) is expected


# -- a real kill -----------------------------------------------------------------------------------------

TRAINING = """
import os, sys, time
from thermograd.ingest.run import start_run
runs, cap, place = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def limit():
    with open(os.environ["THERMOGRAD_FAKE_NVML"], "rb") as gpus:
        gpus.seek(place)
        return int.from_bytes(gpus.read(4), sys.byteorder)
run = start_run("capped", runs, experiment={"arm": "cap", "block_steps": 40, "start_step": 5})
while limit() != cap:  # then it makes no more steps: the block lasts until it is killed
    time.sleep(0.01)
    run.step(loss=1.0, grad_norm=1.0)
time.sleep(600)
"""


def test_after_sigkill_the_agent_puts_the_limit_back(fake, tmp_path):
    place = fake_nvml.State.gpus.offset + fake_nvml.Gpu.limit_mw.offset
    command = [sys.executable, "-c", TRAINING, str(tmp_path / "runs"), str(CAP), str(place)]
    child = subprocess.Popen(command, env=os.environ | fake.environment(), stderr=subprocess.DEVNULL)

    def wait_for_limit(limit_mw):
        until_s = time.monotonic() + 60
        while fake.gpus[0].limit_mw != limit_mw:
            assert time.monotonic() < until_s, f"waited too long for {limit_mw} mW"
            time.sleep(0.01)

    wait_for_limit(CAP)
    child.kill()
    child.wait()
    wait_for_limit(FOUND)
    (run,) = list_runs(tmp_path / "runs")
    until_s = time.monotonic() + 60
    while run.live_writers():
        assert time.monotonic() < until_s, "waited too long for the agent"
        time.sleep(0.05)
    texts = [row["text"] or "" for row in read_kind(run.path, "mark").to_pylist()]
    assert sum("put back by its agent" in text for text in texts) == 1
