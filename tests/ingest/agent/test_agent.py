"""The agent as a real process: one a node, its account, and a run with two GPUs that get into trouble."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import fake_nvml
import psutil
import pytest
from fake_nvml import UUIDS
from thermograd.commands.agent import stream_layer
from thermograd.ingest.agent.agent import (
    _let_die as let_die,
    _let_go as let_go,
    _may_start_again as may_start_again,
    _note_offsets as note_offsets,
    _Stop as Stop,
    _tell_silences as tell_silences,
    _wait_for_parent as wait_for_parent,
    loading,
)
from thermograd.ingest.agent.saying import Sayings
from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.store.events import SETTINGS_MARK
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import Run, create_run, list_runs


def wait_for(condition, timeout_s=60.0, what="it"):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


def samples_of(run, device):
    return [row for row in read_kind(run.path, "sample").to_pylist() if row["device"] == device]


def marks_of(run, mark):
    return [row for row in read_kind(run.path, "mark").to_pylist() if row["mark"] == mark]


def test_the_log_of_a_dead_training_is_awaited_until_nobody_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.agent.agent._DYING_S", 120.0)
    run = create_run(tmp_path, "dying")
    writer = EventWriter(run.path, run.run_id, new_writer_name("r0"))  # of this process, no parent of ours
    waiting = threading.Thread(target=let_go, args=(run, os.getpid()), daemon=True)
    waiting.start()
    waiting.join(0.3)
    was_waiting = waiting.is_alive()
    writer.close()
    waiting.join(60)
    assert (was_waiting, waiting.is_alive()) == (True, False)


def test_another_process_that_writes_and_a_training_that_lives_are_not_awaited(tmp_path, monkeypatch):
    run = create_run(tmp_path, "alive")
    writer = EventWriter(run.path, run.run_id, new_writer_name("r0"))
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("it waited"))
    monkeypatch.setattr("thermograd.ingest.agent.agent.time", clock)
    let_go(run, 1 << 22)
    let_go(run, os.getppid())
    writer.close()


def test_a_parent_that_lets_go_of_the_pipe_is_awaited_as_it_may_hold_its_log_still(monkeypatch):
    parents = iter([7, 7, 7, 1])
    monkeypatch.setattr("thermograd.ingest.agent.agent.os", SimpleNamespace(getppid=lambda: next(parents)))
    let_die(7)
    assert list(parents) == []


def test_a_parent_that_lets_go_of_the_pipe_and_lives_is_not_awaited_for_ever(monkeypatch):
    monkeypatch.setattr("thermograd.ingest.agent.agent._DYING_S", 0.0)
    let_die(os.getppid())


@pytest.mark.parametrize("is_ended", [True, False])
def test_an_agent_that_a_signal_ends_goes_on_until_the_training_that_it_ends_too_is_gone(
    monkeypatch, is_ended
):
    """A busy machine, or much memory to give back: of who is gone before it nobody tells what it was."""
    stop, seen = Stop(7), []

    def getppid():
        seen.append(stop.is_set())
        return 1 if is_ended and len(seen) > 5 else 7

    monkeypatch.setattr("thermograd.ingest.agent.agent.os", SimpleNamespace(getppid=getppid))
    monkeypatch.setattr("thermograd.ingest.agent.agent._DYING_S", 60.0 if is_ended else 0.05)
    stop.told()
    wait_for_parent(7, stop)
    assert (len(seen) > 5 or not is_ended, any(seen), stop.is_set()) == (True, False, True)
    expected = {"state": "interrupted", "closed_by": "SIGTERM"} if is_ended else None
    assert stop.account() == expected


def test_a_signal_that_comes_as_a_recording_looks_whether_it_is_to_end_ends_it():
    stop = Stop(0)

    def interrupted():
        with stop._cond:  # as `wait` holds it before and after it waits
            stop.told()

    main = threading.Thread(target=interrupted, daemon=True)
    main.start()
    main.join(30)
    assert not main.is_alive()
    assert stop.wait(60)


def test_the_threads_of_an_agent_load_one_after_the_other(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, new_writer_name("agent"), ("mark",), role="agent")

    def layer():
        with suppress(AttributeError):  # all is loaded: it begins to work
            stream_layer(run.path)(None, threading.Event())

    layer()
    for load in (layer, lambda: note_offsets(run.path, writer)):
        thread = threading.Thread(target=load)
        with loading:  # as the other of them does
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
        thread.join()
    writer.close()


# -- one agent a node ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "told"), [("interrupted", 0), ("crashed", 1), (None, 1)])
def test_of_ranks_that_are_gone_nothing_is_told_where_a_signal_from_outside_ended_them(
    tmp_path, monkeypatch, state, told
):
    monkeypatch.setenv("THERMOGRAD_AUTORUN", "{}")
    monkeypatch.setattr("thermograd.ingest.agent.agent._LAUNCHER_S", 0.05 if state is None else 60.0)
    run = create_run(tmp_path, "x")
    if state is not None:
        launcher = EventWriter(run.path, run.run_id, new_writer_name("launcher"), role="launcher")
        launcher.close({"state": state})
    agent = EventWriter(run.path, run.run_id, new_writer_name("agent"), ("mark",), role="agent")
    gone = {"mark": "gap", "text": "rank 0 is gone"}
    tell_silences(SimpleNamespace(last_look=lambda: [gone]), agent)
    agent.close()
    assert len(marks_of(run, "gap")) == told


def test_a_job_that_torchrun_may_start_again_is_known_by_its_variables(monkeypatch):
    for count, most, may in (("0", "3", True), ("3", "3", False), ("", "3", False), ("0", "0", False)):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", most)
        assert may_start_again() is may


def test_two_agents_of_a_node_never_sample_twice_and_the_second_takes_over(tmp_path):
    run = create_run(tmp_path, "two ranks")
    agents = [AgentProcess(run.path, 10, None, lambda line: None) for _ in range(2)]
    wait_for(lambda: samples_of(run, "cpu"), what="samples")
    time.sleep(0.3)
    writers = set(read_kind(run.path, "sample").column("writer").to_pylist())
    assert len(writers) == 1
    pid = json.loads(next(run.path.glob("agent-*.lock")).read_text())["pid"]
    holder = next(agent for agent in agents if agent.pid == pid)
    holder.stop()
    wait_for(
        lambda: len(set(read_kind(run.path, "sample").column("writer").to_pylist())) == 2,
        what="the other agent to take over",
    )
    for agent in agents:
        agent.stop()
    assert verify_run(run.path)["ok"] is True


# -- alerts as JSON ----------------------------------------------------------------------------------------


def test_an_alert_is_logged_and_printed_as_one_line_of_json(capsys):
    logged = []
    append = Sayings(as_json=True).alerts(lambda kind, **values: logged.append((kind, values)) or 7)
    assert append("alert", alert="nonfinite", value=float("inf"), step=3) == 7
    assert append("mark", mark="note") == 7
    assert [kind for kind, _ in logged] == ["alert", "mark"]
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"alert": "nonfinite", "value": float("inf"), "step": 3}


def test_an_alert_of_the_real_agent_reaches_a_callable_in_the_training_process(tmp_path):
    from thermograd.store.log.writer import EventWriter

    run = create_run(tmp_path, "alerts")
    writer = EventWriter(run.path, run.run_id, "training")
    heard = []
    agent = AgentProcess(run.path, 5, None, lambda line: None, heard.append)
    writer.append("step", step=1, loss=float("nan"), grad_norm=1.0)
    wait_for(lambda: heard, what="the alert")
    agent.stop()
    writer.close()
    assert (heard[0]["alert"], heard[0]["step"]) == ("nonfinite", 1)
    recorded = read_kind(run.path, "alert").to_pylist()[0]
    assert heard[0]["message"] == recorded["message"]


# -- what the agent loads, and its GPUs --------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = fake_nvml.FakeNvml(fake_nvml.build(tmp_path / "library"), tmp_path / "gpus")
    for name, value in fake.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return fake


def test_a_run_with_two_gpus_that_heat_throttle_and_fall_off_the_bus(tmp_path, fake, monkeypatch):
    """Through the real agent and unmodified pynvml; only NVIDIA's library is a stand-in."""
    (tmp_path / "t.toml").write_text("[silence]\nperiods = 1000\n")  # a busy machine is no silent device
    monkeypatch.setenv("THERMOGRAD_CONFIG", str(tmp_path / "t.toml"))
    first, second = fake.gpus
    second.remove_field(82)
    run = create_run(tmp_path / "runs", "gpus")
    agent = AgentProcess(run.path, 10, None, lambda line: None)
    wait_for(lambda: len(samples_of(run, UUIDS[1])) > 2, what="samples of both")
    first.temperature, first.reasons, first.sm_clock = 93, 0x60, 990
    first.set_field(270, 3_000_000_000)
    wait_for(lambda: samples_of(run, UUIDS[0])[-1]["temperature_c"] == 93.0, what="the heat")
    fake.raise_xid(1, 79)
    wait_for(lambda: any("XID 79" in mark["text"] for mark in marks_of(run, "error")), what="the XID error")
    second.lost = 1
    wait_for(lambda: any("lost" in mark["text"] for mark in marks_of(run, "error")), what="the loss")
    seen = len(samples_of(run, UUIDS[0]))
    wait_for(lambda: len(samples_of(run, UUIDS[0])) > seen + 3, what="the other GPU to go on")
    agent.stop()
    hot = samples_of(run, UUIDS[0])[-1]
    assert (hot["clock_event_mask"], hot["sm_clock_mhz"], hot["throttled_thermal_ns"]) == (
        0x60,
        990.0,
        3_000_000_020,
    )
    assert all(row["memory_temperature_c"] is None for row in samples_of(run, UUIDS[1]))
    assert len(samples_of(run, UUIDS[1])) < len(samples_of(run, UUIDS[0]))
    facts = Run(run.path).facts
    assert facts["devices"][UUIDS[0]]["temperature_limit_c"] == 87.0
    assert facts["devices"][UUIDS[1]]["missing"] == {"memory_temperature_c": "Not Supported"}
    details = [json.loads(mark["detail"]) for mark in marks_of(run, "error")]
    assert details[0] == {"xid": 79, "device": UUIDS[1]}
    assert details[1] == {"device": UUIDS[1], "error": "GPU is lost"}
    (lost,) = [a for a in read_kind(run.path, "alert").to_pylist() if a["alert"] == "silent.device"]
    assert (lost["device"], lost["severity"]) == (UUIDS[1], "critical")
    assert "lost (XID 79); no more readings of it; the last, at " in lost["message"]
    (schedule,) = facts["sampling"].values()
    assert schedule["period_ns"] == 100_000_000
    assert verify_run(run.path)["ok"] is True


def test_the_agent_loads_nothing_that_it_has_no_use_for(tmp_path):
    run = create_run(tmp_path, "light")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from thermograd.ingest.agent import agent\n"
        "from thermograd.commands.agent import stream_layer\n"
        "agent._DYING_S = 0.0\n"  # this process lives on, and is not awaited
        f"path = Path({str(run.path)!r})\n"
        f"agent.run_agent(path, 10, {os.getpid()}, None, stream_layer(path))\n"
        "heavy = {'torch', 'transformers', 'pandas', 'matplotlib', 'altair', 'duckdb', 'prometheus_client'}\n"
        "heavy |= {'click', 'urllib.request', 'http.client', 'importlib.metadata', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), 'narwhals.dataframe' in sys.modules)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as agent:
        wait_for(lambda: samples_of(run, "cpu"), what="samples")
        wait_for(lambda: SETTINGS_MARK in read_kind(run.path, "mark")["text"].to_pylist(), what="its layer")
        if (maps := Path(f"/proc/{agent.pid}/maps")).exists():
            assert "libarrow" not in maps.read_text(), "before it seals"
        agent.stdin.close()
        lines = agent.stdout.read().decode().splitlines()
    assert lines[-1] == "[] False"


def test_a_package_that_is_put_off_is_there_when_it_is_used_after_all():
    script = (
        "import sys\n"
        "from thermograd.ingest.agent.footprint import SparingFinder\n"
        "SparingFinder().install()\n"
        "import narwhals.stable.v2 as nw\n"
        "print(len([name for name in sys.modules if name.startswith('narwhals')]))\n"
        "print(nw.from_native.__name__)\n"
        "import narwhals, pyarrow\n"
        "print(narwhals.__version__ != '', 'pandas' in sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["3", "from_native", "True False"]


# Says until when it has seen that for a second and more no half of the time was without a sample.
WATCHER = """
import sys, time
from itertools import pairwise
from pathlib import Path
from thermograd.store.log.reader import read_kind
print("ready", flush=True)
path, begun_ns = Path(sys.argv[1]), int(sys.stdin.readline())
while (held_ns := time.monotonic_ns() - begun_ns) < 60_000_000_000:
    rows = read_kind(path, "sample").to_pylist()
    seen = [row["monotonic_ns"] for row in rows if row["device"] == "cpu"]
    during = [begun_ns, *sorted(ns for ns in seen if ns > begun_ns), begun_ns + held_ns]
    if held_ns > 1_000_000_000 and max(b - a for a, b in pairwise(during)) < held_ns / 2:
        break
    time.sleep(0.02)
print(f"{begun_ns + held_ns:20d}", end="", flush=True)
"""


def test_sampling_goes_on_while_the_trainer_holds_the_interpreter(tmp_path):
    """A thread is blind for the whole hold; the agent is another process, so it is not."""
    run = create_run(tmp_path, "held")
    agent = AgentProcess(run.path, 10, None, lambda line: None)
    wait_for(lambda: samples_of(run, "cpu"), what="samples")
    ticks, done = [], threading.Event()
    thread = threading.Thread(
        target=lambda: [ticks.append(time.monotonic_ns()) for _ in iter(lambda: done.wait(0.1), True)]
    )
    thread.start()
    command, usual_s = [sys.executable, "-c", WATCHER, str(run.path)], sys.getswitchinterval()
    try:
        with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
            assert watcher.stdout.readline() == b"ready\n"
            said, held = ctypes.create_string_buffer(20), ctypes.PyDLL(None)  # unlike CDLL it keeps the lock
            sys.setswitchinterval(600.0)  # nor is it given away between the calls
            ticked = len(ticks)
            wait_for(lambda: len(ticks) > ticked + 1, what="the thread")
            begun_ns = time.monotonic_ns()
            begun = b"%d\n" % begun_ns
            held.write(watcher.stdin.fileno(), begun, len(begun))
            held.read(watcher.stdout.fileno(), said, 20)
            end_ns = time.monotonic_ns()
            sys.setswitchinterval(usual_s)
        wait_for(lambda: ticks[-1] > end_ns, what="the thread")
    finally:
        sys.setswitchinterval(usual_s)
        done.set()
        thread.join()
    agent.stop()
    seen_ns = int(said.raw)
    sampled = [begun_ns, *(row["monotonic_ns"] for row in samples_of(run, "cpu")), seen_ns]
    during = sorted(ns for ns in sampled if begun_ns <= ns <= seen_ns)
    blind_ns = max(later - earlier for earlier, later in pairwise(ticks))
    assert not [ns for ns in ticks if begun_ns <= ns <= end_ns]
    assert blind_ns >= end_ns - begun_ns >= seen_ns - begun_ns > 1_000_000_000
    assert max(later - earlier for earlier, later in pairwise(during)) < blind_ns / 2
    assert not psutil.pid_exists(agent.pid) or psutil.Process(agent.pid).status() == psutil.STATUS_ZOMBIE


def test_ctrl_c_ends_a_recording_in_order(tmp_path):
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(tmp_path), "record", "--hz", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as recording:
        wait_for(lambda: list_runs(tmp_path) and samples_of(list_runs(tmp_path)[0], "cpu"), what="samples")
        recording.send_signal(signal.SIGINT)
        out, _ = recording.communicate(timeout=60)
    run = list_runs(tmp_path)[0]
    assert recording.returncode == 0
    assert f"{run.run_id}: " in out.decode()
    assert run.state() == "finished"
    assert json.loads(marks_of(run, "note")[-1]["detail"])
    assert not list(run.path.glob("*.lock"))


# -- the shortest run ------------------------------------------------------------------------------------

SHORTEST = """
import sys, thermograd
with thermograd.start_run(runs=sys.argv[1], hz=0.1) as run:
    run.step(loss=1.0)
"""


def recorded_by(script, runs, **options):
    subprocess.run([sys.executable, "-c", script, runs], check=True, capture_output=True, **options)
    (run,) = list_runs(runs)
    return run


def test_a_run_shorter_than_a_sample_has_one_at_its_start_and_one_at_its_end(tmp_path):
    run = recorded_by(SHORTEST, tmp_path)
    first, *others, last = samples_of(run, "cpu")
    assert len(others) <= (last["monotonic_ns"] - first["monotonic_ns"]) // 10**10  # a busy machine's
    ended_ns = marks_of(run, "run_ended")[0]["time_ns"]
    assert first["utilization_pct"] is None, "nothing has been counted yet"
    assert run.started_time_ns < first["time_ns"] < last["time_ns"]
    assert last["time_ns"] > ended_ns, "when it was read, not when it would have been fine"
    assert last["memory_used_bytes"] > 0


@pytest.mark.parametrize("is_changed", [True, False])
def test_the_agent_says_whether_the_trainings_files_are_those_of_the_commit(tmp_path, is_changed):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("pass")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=code, check=True)
    if is_changed:
        (code / "train.py").write_text("changed")
    run = recorded_by(SHORTEST, tmp_path / "runs", cwd=code)
    assert len(run.facts["git"]["commit"]) == 40
    assert run.facts["git"]["dirty"] is is_changed
