"""Ranks that fall silent: their processes in states that a table says; one test asks real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from thermograd.ingest.agent import ranks as ranks_module
from thermograd.ingest.agent.deaths import Death, Deaths
from thermograd.ingest.agent.ranks import RankWatch, process_state
from thermograd.store.files import read_json, write_json, writer_file
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import process_facts


class Job:
    """Some ranks' writers in a run's directory, the states of their processes, and who looks at them."""

    def __init__(self, path, monkeypatch, ranks=3):
        self.path, self.states, self.began = path, {}, 0
        self.clock_s = 1000.0
        times = {"time_ns": time.time_ns, "monotonic_ns": time.monotonic_ns}
        clock = SimpleNamespace(monotonic=lambda: self.clock_s, **times)
        monkeypatch.setattr(ranks_module, "time", clock)
        monkeypatch.setattr(ranks_module, "process_of", lambda facts: facts["writer"])
        (path / "writers").mkdir()
        self.names = [self.begin(rank) for rank in range(ranks)]
        self.deaths = {}
        self.watch = RankWatch(
            lambda: path,
            state_of=lambda name: self.states.get(name, "runs"),
            deaths=SimpleNamespace(follow=lambda pid: None, of=self.deaths.get),
        )
        assert self.look() == []

    def begin(self, rank, **facts):
        self.began += 1
        name = f"node-r{rank}-{4000 + self.began}-0a1b2{self.began % 10}"
        clock = {"clock": {"time_ns": time.time_ns(), "monotonic_ns": 1, "uncertainty_ns": 1}}
        write_json(
            writer_file(self.path, name),
            process_facts() | {"writer": name, "role": "training", "pid": 4000 + self.began} | clock | facts,
        )
        return name

    def dies(self, rank, at_s, exit_code):
        self.states[self.names[rank]] = "gone"
        pid = read_json(writer_file(self.path, self.names[rank]))["pid"]
        self.deaths[pid] = Death(1_795_000_000_000_000_000 + round(at_s * 1e9), exit_code)

    def look(self, slept_s=0.0):
        self.clock_s += 1.0
        return self.watch.look(slept_s)

    def close(self, name):
        file = writer_file(self.path, name)
        write_json(file, read_json(file) | {"closed_time_ns": 5})


@pytest.fixture
def job(tmp_path, monkeypatch):
    return Job(tmp_path, monkeypatch)


def detail(mark):
    return json.loads(mark["detail"])


@pytest.mark.parametrize(
    ("state", "severity", "says"),
    [
        (
            "stopped",
            "critical",
            "is stopped (SIGSTOP, Ctrl-Z, or a scheduler); kill -CONT 4002 lets it go on",
        ),
        ("gone", "critical", "is gone without a word"),
        ("traced", "warning", "is held by a debugger"),
    ],
)
def test_two_looks_in_a_row_that_find_it_so_are_one_alert(job, state, severity, says):
    job.states[job.names[1]] = state
    assert job.look() == []
    (mark,) = job.look()
    assert detail(mark)["alert"] == "silent.rank"
    assert (detail(mark)["severity"], detail(mark)["ranks"]) == (severity, [1])
    assert says in mark["text"]
    assert mark["text"].startswith("rank 1 on ")
    assert "no step was logged" in mark["text"]
    assert [job.look() for _ in range(100)] == [[]] * 100


def test_one_look_is_no_silence_and_neither_is_a_state_found_after_we_slept(job):
    for _ in range(20):
        job.states[job.names[0]] = "stopped"
        assert job.look() == []
        job.states[job.names[0]] = "runs"
        assert job.look() == []
    job.states |= dict.fromkeys(job.names, "stopped")
    assert [job.look(slept_s=60.0) for _ in range(3)] == [[]] * 3, "a scheduler stopped us, too"
    job.states = {}
    assert job.look() == []


def test_all_ranks_at_once_are_one_alert_that_ends_when_all_are_back(job):
    job.states |= dict.fromkeys(job.names, "stopped")
    job.look()
    (mark,) = job.look()
    assert detail(mark)["ranks"] == [0, 1, 2]
    assert mark["text"].startswith("ranks 0-2 on ")
    job.states = {job.names[0]: "stopped"}
    assert [job.look() for _ in range(10)] == [[]] * 10
    job.states = {}
    told = [mark for _ in range(10) for mark in job.look()]
    assert [mark["mark"] for mark in told] == ["alert_ended"]
    assert detail(told[0])["onset_time_ns"] == detail(mark)["onset_time_ns"]


def test_who_has_closed_its_log_or_was_started_again_is_not_silent(job):
    job.close(job.names[0])
    job.states |= dict.fromkeys(job.names, "gone")
    again = [job.begin(rank) for rank in (1, 2)]
    assert [job.look() for _ in range(5)] == [[]] * 5
    job.states[again[0]] = "stopped"
    job.look()
    assert detail(job.look()[0])["writers"] == [again[0]]


def test_a_rank_whose_place_another_process_has_taken_is_back(job):
    job.states[job.names[2]] = "gone"
    job.look()
    (mark,) = job.look()
    job.begin(2)
    told = [each for _ in range(8) for each in job.look()]
    assert [detail(each)["onset_time_ns"] for each in told] == [detail(mark)["onset_time_ns"]]


def test_at_the_end_who_is_gone_is_told_at_once_and_who_is_stopped_is_not(job):
    job.states |= {job.names[0]: "gone", job.names[1]: "stopped"}
    (mark,) = job.watch.last_look()
    assert detail(mark)["ranks"] == [0]


@pytest.mark.parametrize(
    ("deaths", "ranks", "severity", "says"),
    [
        (
            {0: (0.1, 143), 1: (0.0, 137), 2: (0.2, 143)},
            [1],
            "critical",
            "(SIGKILL, perhaps for want of memory); ranks 0, 2 ended by SIGTERM within 0.2 s",
        ),
        ({0: (0.0, 143), 1: (0.0, 139)}, [1], "critical", "rank 0 ended by SIGTERM within 0 s of it"),
        ({0: (2.0, 134), 1: (0.0, 1)}, [0, 1], "critical", "(exit code 1); rank 0 ended within 2 s of it"),
        ({0: (1.0, None), 1: (0.0, None)}, [0, 1], "critical", "or a crash); rank 0 ended within 1 s of it"),
        ({0: (0.0, 137), 1: (0.001, 137)}, [0, 1], "critical", "want of memory); they ended together"),
        ({1: (0.0, 143)}, [1], "warning", "is ended by SIGTERM: somebody told it to end"),
    ],
)
def test_who_went_first_is_named_and_not_who_was_ended_because_of_it(job, deaths, ranks, severity, says):
    for rank, (at_s, exit_code) in deaths.items():
        job.dies(rank, at_s, exit_code)
    job.look()
    (mark,) = job.look()
    assert (detail(mark)["ranks"], detail(mark)["severity"]) == (ranks, severity)
    assert mark["text"].startswith("ranks 0-1 on " if "together" in says else "rank 1 on ")
    assert says in mark["text"]
    assert [job.look() for _ in range(10)] == [[]] * 10, "the others are told with it"
    noted = [read_json(writer_file(job.path, job.names[rank]))["gone"]["exit_code"] for rank in deaths]
    assert noted == [exit_code for _, exit_code in deaths.values()]


def test_without_the_kernels_word_it_is_said_that_nobody_knows_who_went_first(job):
    job.states |= {job.names[0]: "gone", job.names[1]: "gone"}
    (mark,) = job.watch.last_look()
    assert "; which of them went first cannot be told; no sign" in mark["text"]


def test_at_the_end_a_job_that_was_told_to_end_is_not_silent(job):
    for rank in range(3):
        job.dies(rank, rank / 100, 143)
    assert job.watch.last_look() == []


def test_who_is_ended_at_the_end_because_of_one_that_was_told_before_is_told_no_more(job):
    job.dies(1, 0.0, 137)
    assert [len(job.look()) for _ in range(2)] == [0, 1]
    job.dies(0, 3.0, 143)
    assert job.watch.last_look() == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there is no pidfd")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_kernel_tells_of_grandchildren_when_and_how_they_end(how):
    """Until their parent asks the exit code is to be seen anywhere: here it never does before the end."""
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid, deaths = int(parent.stdout.readline()), Deaths()
    deaths.follow(pid)
    before_ns = time.time_ns()
    os.kill(pid, how)
    end_s = time.monotonic() + 60
    while deaths.of(pid) is None or deaths.of(pid).exit_code is None:
        assert time.monotonic() < end_s
        time.sleep(0.002)
    assert deaths.of(pid).exit_code == 128 + how
    assert deaths.of(pid).time_ns > before_ns
    parent.communicate(b"\n")


def test_others_processes_are_not_looked_at(job):
    job.begin(5, role="import")
    job.begin(6, host="elsewhere")
    job.begin(7, boot_id="another")
    write_json(writer_file(job.path, "garbage"), {})
    job.states |= {path.stem: "gone" for path in (job.path / "writers").glob("*") if "-r0-" not in path.stem}
    job.states |= dict.fromkeys(job.names, "runs")
    assert [job.look() for _ in range(4)] == [[]] * 4


def test_the_last_step_is_told(tmp_path, monkeypatch):
    job = Job(tmp_path, monkeypatch, ranks=0)
    writer = EventWriter(tmp_path, "x", "node-r4-123-0a1b2c")
    writer.append("step", 1_795_000_000_000_000_000, 1, step=1204, rank=4)
    job.look()
    job.states["node-r4-123-0a1b2c"] = "stopped"
    job.look()
    (mark,) = job.look()
    writer.close()
    assert mark["text"].endswith("last step 1,204 at 11:06:40")
    assert (detail(mark)["step"], detail(mark)["metric"], detail(mark)["value"]) == (1204, "step", 1204.0)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_the_states_of_real_processes():
    import psutil

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)

    def becomes(state):
        end_s = time.monotonic() + 60
        while process_state(process) != state:
            assert time.monotonic() < end_s
            time.sleep(0.002)

    try:
        becomes("runs")
        os.kill(child.pid, signal.SIGSTOP)
        becomes("stopped")
        os.kill(child.pid, signal.SIGCONT)
        becomes("runs")
        child.kill()
        becomes("gone")
    finally:
        child.kill()
        child.communicate()
    becomes("gone")
