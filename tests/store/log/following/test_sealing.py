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
        while len(open_segments(tmp_path, "arrows")) < min(3, step // 20):
            log._wake.put(None)
    yield log
    log.close()


@pytest.fixture
def started(monkeypatch):
    """Which processes were started."""
    commands, run = [], sealing.subprocess.run
    monkeypatch.setattr(
        sealing.subprocess, "run", lambda command, **how: (commands.append(command), run(command, **how))[1]
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
    apart, run, ways = SealingApart(0.0), sealing.subprocess.run, []

    def ended(command, **how):
        ways.append(how)
        return run([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], **how)

    with monkeypatch.context() as ending:
        ending.setattr(sealing.subprocess, "run", ended)
        apart.seal(tmp_path, "r", ("w",))
    assert ways[0]["start_new_session"], "Ctrl-C in a terminal is not for it"
    assert not sealed_segments(tmp_path, "step")
    apart.seal(tmp_path, "r", ("w",))
    assert len(sealed_segments(tmp_path, "step")) == 2
