import signal
import subprocess
import sys

import pytest
from thermograd.store.errors import LogError
from thermograd.store.files import open_segments, sealed_segments
from thermograd.store.log import tail_stream
from thermograd.store.log.following import sealing
from thermograd.store.log.following.sealing import SealingApart, complete_files
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A writer that runs, with three streams of 20 steps and a tail."""
    monkeypatch.setattr(tail_stream, "_MAX_SEGMENT_ROWS", 20)
    log = EventWriter(tmp_path, "r", "w", batch_rows=10)
    for step in range(65):
        log.append("step", step=step)
        full = tmp_path / "open" / "w" / f"step-{step - 9:012}.tail"
        while step % 10 == 9 and full.exists():  # else it depends on the other thread how large batches are
            log._wake.put(None)
    yield log
    log.close()


@pytest.fixture
def started(monkeypatch):
    """Which processes were started."""
    commands, start = [], sealing.subprocess.Popen
    monkeypatch.setattr(
        sealing.subprocess,
        "Popen",
        lambda command, **how: (commands.append(command), start(command, **how))[1],
    )
    return commands


def steps(path):
    return read_kind(path, "step")["step"].to_pylist()


def test_of_a_writer_that_runs_streams_with_a_successor_are_sealed_once(log, tmp_path, started):
    apart = SealingApart(0.0)
    streams = [segment.path for segment in open_segments(tmp_path, "arrows")]
    assert complete_files(tmp_path, ("w",)) == set(streams[:-1])
    for _ in range(2):
        apart.seal(tmp_path, "r", ("w",))
    assert len(sealed_segments(tmp_path, "step")) == len(streams) - 1
    assert [segment.path for segment in open_segments(tmp_path, "arrows")] == streams[-1:]
    assert len(started) == 1
    assert steps(tmp_path) == list(range(65))


def test_of_a_writer_that_is_gone_everything_is_sealed(log, tmp_path):
    log.close()
    SealingApart().seal(tmp_path, "r", ())
    assert not open_segments(tmp_path, "arrows") + open_segments(tmp_path, "tail")
    assert steps(tmp_path) == list(range(65))


def test_what_a_process_could_not_seal_is_told_in_its_sentence_and_tried_again(log, tmp_path, started):
    (tmp_path / "sealed").write_text("in the way")
    apart = SealingApart(0.0)
    for _ in range(2):
        with pytest.raises(LogError, match="^cannot seal .*: sealed is not a directory; what is not"):
            apart.seal(tmp_path, "r", ("w",))
    assert len(started) == 2
    (tmp_path / "sealed").unlink()
    apart.seal(tmp_path, "r", ("w",))
    assert len(sealed_segments(tmp_path, "step")) == 2


def test_processes_are_started_some_time_apart(log, tmp_path, started):
    apart = SealingApart()
    apart.seal(tmp_path, "r", ("w",))
    log.close()
    apart.seal(tmp_path, "r", ())
    assert len(started) == 1
    assert open_segments(tmp_path, "arrows")


def test_a_signal_that_ends_a_job_is_no_failure_and_what_was_not_sealed_is_tried_again(
    log, tmp_path, monkeypatch
):
    apart, start, ways = SealingApart(0.0), sealing.subprocess.Popen, []

    def ended(command, **how):
        ways.append(how)
        return start([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], **how)

    with monkeypatch.context() as ending:
        ending.setattr(sealing.subprocess, "Popen", ended)
        apart.seal(tmp_path, "r", ("w",))
    assert ways[0]["start_new_session"], "Ctrl-C in a terminal is not for it"
    assert not sealed_segments(tmp_path, "step")
    apart.seal(tmp_path, "r", ("w",))
    assert len(sealed_segments(tmp_path, "step")) == 2


class Hanging(subprocess.Popen):
    """A process that says nothing and does not end; like one that waits for a disk it may not die at once."""

    is_undead, last = False, None

    def __init__(self, command, **how):
        super().__init__([sys.executable, "-c", "import time; time.sleep(600)"], **how)
        Hanging.last = self

    def kill(self):
        if not self.is_undead:
            super().kill()


def test_what_hangs_is_killed_once_its_time_is_over_and_sealed_the_next_time(log, tmp_path, monkeypatch):
    apart = SealingApart(0.0, most_s=0.01)
    with monkeypatch.context() as hanging:
        hanging.setattr(sealing.subprocess, "Popen", Hanging)
        with pytest.raises(LogError, match=r"^it was not done within 0\.01 s"):
            apart.seal(tmp_path, "r", ("w",))
    assert Hanging.last.wait() == -signal.SIGKILL
    apart._most_s = 60.0
    apart.seal(tmp_path, "r", ("w",))
    assert len(sealed_segments(tmp_path, "step")) == 2
    assert steps(tmp_path) == list(range(65))


def test_while_what_was_killed_still_hangs_no_other_is_started(log, tmp_path, monkeypatch, started):
    apart, start = SealingApart(0.0, most_s=0.01), sealing.subprocess.Popen
    with monkeypatch.context() as hanging:
        hanging.setattr(Hanging, "is_undead", True)
        hanging.setattr(sealing.subprocess, "Popen", Hanging)
        with pytest.raises(LogError, match="not done within"):
            apart.seal(tmp_path, "r", ("w",))
    assert sealing.subprocess.Popen is start
    for _ in range(2):
        with pytest.raises(LogError, match="still hangs"):
            apart.seal(tmp_path, "r", ("w",))
    assert not started
    Hanging.last.kill()
    Hanging.last.wait()
    apart._most_s = 60.0
    apart.seal(tmp_path, "r", ("w",))
    assert len(started) == 1
    assert len(sealed_segments(tmp_path, "step")) == 2
