"""The log under abuse: a disk that refuses, processes that die, several writers at once."""

import errno
import os
import random
import subprocess
import sys
import textwrap

import pytest
from thermograd.store.log import segments as arrow_module
from thermograd.store.log import writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "ftruncate"])
def test_a_disk_that_refuses_any_call_harms_no_acknowledged_event(tmp_path, monkeypatch, code, call):
    """Each system call of the log fails now and then; append must neither raise nor lie."""
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    chance, real = random.Random(code), getattr(os, call)

    def unreliable(*arguments, **options):
        if chance.random() < 0.2:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    for module in (log_module, arrow_module):
        monkeypatch.setattr(module.os, call, unreliable)
    acknowledged = []
    for i in range(400):
        if writer.append("step", step=i) is not None:
            acknowledged.append(i)
        for stream in writer._streams.values():
            stream.retry_at = 0.0  # no waiting between tries
    monkeypatch.undo()
    for i in range(400, 420):
        assert writer.append("step", step=i) is not None
        acknowledged.append(i)
    lost = writer.lost
    writer.close()
    assert lost == 420 - len(acknowledged)
    assert read_kind(run.path, "step").column("step").to_pylist() == acknowledged
    seal_run(run.path, run.run_id)
    assert read_kind(run.path, "step").column("step").to_pylist() == acknowledged


@needs_fork
def test_a_kill_at_any_moment_of_sealing_loses_and_doubles_nothing(tmp_path):
    """A hundred kills: each trial forks from a process that has imported everything already."""
    script = textwrap.dedent(
        f"""
        import os, random, signal, time
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        from thermograd.store.log.seal import seal_run
        chance = random.Random(5)
        killed = 0
        for trial in range(100):
            path = Path({str(tmp_path)!r}) / f"r{{trial}}"
            path.mkdir()
            pid = os.fork()
            if pid == 0:
                writer = EventWriter(path, "r", "w", ("step", "mark"), batch_rows=16)
                for i in range(60):
                    writer.append("step", step=i)
                    writer.append("mark", mark="note", step=i)
                writer.close()
                os.kill(os.getpid(), signal.SIGSTOP)
                seal_run(path, "r")
                os._exit(0)
            os.waitpid(pid, os.WUNTRACED)
            os.kill(pid, signal.SIGCONT)
            time.sleep(chance.random() * 0.02)
            os.kill(pid, signal.SIGKILL)
            killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        print(killed)
        """
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(result.stdout) >= 20, "most trials ought to be killed before they end by themselves"
    for trial in range(100):
        path = tmp_path / f"r{trial}"
        for kind in ("step", "mark"):
            assert read_kind(path, kind).column("step").to_pylist() == list(range(60))
        seal_run(path, "r")
        report = verify_run(path)
        assert report["ok"] is True, report
        assert report["events"] == {"step": 60, "sample": 0, "alert": 0, "mark": 60}


@needs_fork
def test_two_processes_and_their_forks_write_one_run_without_touching_each_other(tmp_path):
    run = create_run(tmp_path, "x")
    script = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        writer = EventWriter(Path({str(run.path)!r}), "r", sys.argv[1], batch_rows=16)
        for i in range(500):
            writer.append("step", step=i)
            if i in (100, 300):
                pid = os.fork()
                if pid == 0:
                    for j in range(50):
                        assert writer.append("step", step=-j) is None
                    writer.close()
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
        writer.close()
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, name]) for name in ("a", "b")]
    assert [process.wait() for process in processes] == [0, 0]
    steps = read_kind(run.path, "step")
    assert steps.column("step").to_pylist() == [*range(500), *range(500)]
    assert steps.column("writer").to_pylist() == ["a"] * 500 + ["b"] * 500
    assert verify_run(run.path)["ok"] is True
