import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import psutil
import pytest
import thermograd
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run, find_run, list_runs


def wait_for(condition, timeout_s=60.0, what="it"):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


def agent_and_others(pid):
    """Return the agent that a process started, and its other children: not git, which the agent asks."""
    children = psutil.Process(pid).children()
    agents = [p for p in children if "agent" in p.cmdline()]
    assert len(agents) == 1
    return agents[0], [p for p in children if p != agents[0]]


def is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_plain_loop_logs_its_steps_and_marks(tmp_path):
    with thermograd.start_run(name="plain", runs=tmp_path, agent=False) as run:
        run.step(loss=2.5, grad_norm=1.25, learning_rate=1e-3)
        run.step(loss=float("nan"), grad_norm=float("inf"), step=5, tokens=128, skipped=True)
        run.mark("checkpoint", step=5, text="saved", path="x.pt")
    steps = read_kind(run.path, "step").to_pylist()
    assert [
        (s["step"], s["loss"] == s["loss"], s["grad_norm"], s["tokens"], s["skipped"]) for s in steps
    ] == [
        (1, True, 1.25, None, None),
        (5, False, float("inf"), 128, True),
    ]
    assert steps[0]["step_time_s"] is None
    assert steps[1]["step_time_s"] > 0
    marks = read_kind(run.path, "mark").to_pylist()
    assert [m["mark"] for m in marks] == ["run_started", "checkpoint", "run_ended"]
    assert marks[1]["detail"] == '{"path": "x.pt"}'
    assert Run(run.path).state() == "finished"


def test_run_json_says_what_ran(tmp_path):
    with thermograd.start_run(name="<b>", runs=tmp_path, agent=False, facts={"batch": 8}) as run:
        pass
    facts = Run(run.path).facts
    assert facts["name"] == "<b>"
    assert facts["batch"] == 8
    assert facts["thermograd_version"] == thermograd.__version__
    assert {"host", "boot_id", "argv", "versions", "git", "started_time_ns", "source"} <= facts.keys()


def test_an_exception_in_the_loop_is_marked_and_passed_on(tmp_path):
    with pytest.raises(KeyError), thermograd.start_run(runs=tmp_path, agent=False):
        raise KeyError("x")
    marks = read_kind(list_runs(tmp_path)[0].path, "mark").to_pylist()
    assert "KeyError" in next(m["text"] for m in marks if m["mark"] == "error")


def test_a_directory_that_cannot_be_written_does_not_stop_the_training(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with thermograd.start_run(runs=tmp_path / "file", agent=False) as run:
        run.step(loss=1.0)
        run.mark("note")
    assert run.run_id is None
    assert "records nothing" in caplog.text


def test_recording_can_be_turned_off(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    with thermograd.start_run(runs=tmp_path) as run:
        run.step(loss=1.0)
    assert list_runs(tmp_path) == []


def test_a_sampling_rate_out_of_bounds_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"hz is 100; allowed: 0\.1 to 10"):
        thermograd.start_run(runs=tmp_path, hz=100)


def test_a_launcher_can_name_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_RUN_ID", "job-7")
    monkeypatch.setenv("RANK", "3")
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
    assert run.run_id == "job-7"
    assert read_kind(run.path, "step").to_pylist()[0]["rank"] == 3


LOOP = """
    import os, time, thermograd
    run = thermograd.start_run(name="killed", runs={runs!r}, hz=10, simulate="restricted")
    {before}
    i = 0
    while True:
        i += 1
        run.step(loss=1.0, grad_norm=9.0 if i == 60 else 1.0 + i % 7 / 100)
        os.write(1, b"%d\\n" % i)
        time.sleep(0.02)
"""


def start(tmp_path, before="pass"):
    script = textwrap.dedent(LOOP.format(runs=str(tmp_path), before=before))
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_until(process, steps):
    lines = [process.stdout.readline() for _ in range(steps)]
    return int(lines[-1])


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("pass", id="alone"),
        pytest.param(
            "os.fork() or time.sleep(60)",
            id="with a forked worker",
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
        ),
    ],
)
def test_sigkill_of_the_training_loses_no_step_and_ends_the_agent(tmp_path, before):
    process = start(tmp_path, before)
    run_until(process, 100)
    wait_for(lambda: find_run(tmp_path, "latest").counts()["sample"] > 3, what="samples")
    run = find_run(tmp_path, "latest")
    assert run.state() == "live"
    agent, workers = agent_and_others(process.pid)
    process.kill()
    killed_ns = time.monotonic_ns()
    rest = process.stdout.read() if before == "pass" else b""
    acknowledged = max([100, *(int(line) for line in rest.split())])
    wait_for(lambda: is_gone(agent), what="the agent's end")
    sampled = [row for row in read_kind(run.path, "sample").to_pylist() if row["device"] == "cpu"]
    assert sum(row["monotonic_ns"] > killed_ns for row in sampled) < 50  # ten make a second, where it is idle
    for worker in workers:
        assert not is_gone(worker), "the worker ought to have held the pipe open"
        worker.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    steps = read_kind(run.path, "step").column("step").to_pylist()
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= acknowledged
    assert run.state() == "crashed"
    assert verify_run(run.path)["ok"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_the_agent_survives_ctrl_c_samples_raises_alerts_and_seals(tmp_path):
    process = start(tmp_path)
    run_until(process, 30)
    run = find_run(tmp_path, "latest")
    wait_for(lambda: run.counts()["sample"] > 3, what="samples")
    agent, _ = agent_and_others(process.pid)
    os.kill(agent.pid, signal.SIGINT)
    run_until(process, 60)
    wait_for(lambda: run.counts()["alert"] > 0, what="the alert")
    assert any(b"spike.grad" in line for line in process.stderr)  # shown by the training, not only in the log
    assert agent.is_running()
    process.terminate()
    process.wait()
    process.stdout.close()
    wait_for(lambda: is_gone(agent), what="the agent's end")
    told = process.stderr.read().decode()
    process.stderr.close()
    alerts = [a for a in read_kind(run.path, "alert").to_pylist() if a["device"] is None]  # it may get hot
    told_of_steps = [(a["alert"], a["step"]) for a in alerts if a["alert"] != "silent.rank"]  # it was ended
    assert told_of_steps == [("spike.grad", 60)]
    samples = read_kind(run.path, "sample").to_pylist()
    assert {s["device"] for s in samples} >= {"cpu", "simulated:restricted"}
    devices = Run(run.path).facts["devices"]
    assert devices["simulated:restricted"]["simulated"] is True
    assert devices["cpu"]["simulated"] is False
    assert not list((run.path / "open").glob("*/*")), told


def test_training_goes_on_when_the_agent_dies(tmp_path):
    process = start(tmp_path)
    run_until(process, 30)
    run = find_run(tmp_path, "latest")
    wait_for(lambda: run.counts()["sample"] > 0, what="samples")
    agent, _ = agent_and_others(process.pid)
    agent.kill()
    before = run_until(process, 1)
    assert run_until(process, 50) == before + 50
    wait_for(
        lambda: any(m["mark"] == "gap" for m in read_kind(run.path, "mark").to_pylist()), what="the mark"
    )
    process.kill()
    process.wait()
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    assert told.count("thermograd: the agent ended early") == 1


def test_the_agent_seals_complete_segments_while_the_run_goes_on(tmp_path, monkeypatch):
    import threading

    from thermograd.ingest.agent import agent
    from thermograd.store.files import sealed_segments
    from thermograd.store.log import tail_stream
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.runs.catalogue import create_run

    monkeypatch.setattr(tail_stream, "_MAX_SEGMENT_ROWS", 32)
    monkeypatch.setattr(agent, "_SEAL_PERIOD_S", 0.05)
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=16)
    for i in range(100):
        writer.append("step", step=i)
    stop = threading.Event()
    unchanged = SimpleNamespace(news=lambda: None)  # the host's time service
    sealer = threading.Thread(target=agent._look_after, args=(agent._Whereabouts(writer), unchanged, stop))
    sealer.start()
    try:
        wait_for(lambda: len(sealed_segments(run.path, "step")) >= 2, what="sealed segments")
        writer.append("step", step=100)
        assert run.state() == "live"
        assert read_kind(run.path, "step").column("step").to_pylist() == list(range(101))
    finally:
        stop.set()
        sealer.join()
    writer.close()


def test_a_sealing_that_hangs_is_told_once_and_counted_and_what_looks_after_the_run_goes_on(
    tmp_path, monkeypatch
):
    import threading

    from thermograd.ingest.agent import agent
    from thermograd.store.failures import Guard
    from thermograd.store.files import sealed_segments
    from thermograd.store.log.following import sealing
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.runs.catalogue import create_run

    told = []
    upkeep = Guard("cannot %(place)s: %(error)s", told.append, again="can %(place)s again after %(count)d")
    apart, start = sealing.SealingApart(0.0), sealing.subprocess.Popen

    class Hanging(start):
        def __init__(self, command, **how):
            super().__init__([sys.executable, "-c", "import time; time.sleep(600)"], **how)

        def communicate(self, *_, timeout):
            raise sealing.subprocess.TimeoutExpired("", timeout)

    def popen(command, **how):
        return (Hanging if upkeep.failures < 3 else start)(command, **how)

    monkeypatch.setattr(sealing.subprocess, "Popen", popen)
    monkeypatch.setattr(agent, "SealingApart", lambda: apart)
    monkeypatch.setattr(agent, "_upkeep", upkeep)
    monkeypatch.setattr(agent, "_SEAL_PERIOD_S", 0.01)
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    writer.append("step", step=0)
    dead = run.path / "open" / "dead"
    dead.mkdir()
    for path in (run.path / "open" / "w").iterdir():
        (dead / path.name).write_bytes(path.read_bytes())
    stop, clock = threading.Event(), SimpleNamespace(news=lambda: None)
    sealer = threading.Thread(target=agent._look_after, args=(agent._Whereabouts(writer), clock, stop))
    sealer.start()
    wait_for(lambda: len(told) > 1, what="a sealing that works again")
    stop.set()
    sealer.join()
    writer.close()
    assert told == [
        "cannot seal the run: it was not done within 600 s, and is tried again later",
        f"can seal the run again after {upkeep.failures}",
    ]
    assert [segment.writer for segment in sealed_segments(run.path, "step")] == ["dead"]
