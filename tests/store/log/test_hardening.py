"""The log under abuse: a disk that refuses, processes that die, several writers at once."""

import errno
import os
import random
import subprocess
import sys
import textwrap

import pytest
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

    monkeypatch.setattr(os, call, unreliable)
    acknowledged = []
    for i in range(400):
        if writer.append("step", step=i) is not None:
            acknowledged.append(i)
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
    """Forty kills, evenly over everything that Python does from the beginning of sealing to its end.

    A first trial counts what there is; each trial forks from a process that has imported everything already.
    Ten more come at some time, so in the middle of a system call too.
    """
    script = textwrap.dedent(
        f"""
        import os, random, shutil, signal, sys, time
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        from thermograd.store.log.seal import seal_run
        folder = Path({str(tmp_path)!r})
        whole = folder / "whole"
        whole.mkdir()
        writer = EventWriter(whole, "r", "w", ("step", "mark"), batch_rows=16)
        for i in range(60):
            writer.append("step", step=i)
            writer.append("mark", mark="note", step=i)
        writer.close()
        def trial(name, last):
            shutil.copytree(whole, folder / name)
            reader, told = os.pipe()
            pid = os.fork()
            if pid == 0:
                seen = [0]
                def count(frame, event, argument):
                    seen[0] += 1
                    if seen[0] == last:
                        os.kill(os.getpid(), signal.SIGKILL)
                sys.setprofile(count)
                seal_run(folder / name, "r")
                sys.setprofile(None)
                os.write(told, b"%d" % seen[0])
                os._exit(0)
            os.close(told)
            with open(reader) as answer:
                seen = answer.read()
            return seen, os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        for _ in range(2):  # the first one also imports what only sealing needs
            seal_run(shutil.copytree(whole, folder / f"warm{{_}}"), "r")
        events = int(trial("counted", 0)[0])
        print(events, sum(trial(f"r{{k}}", 1 + k * (events - 1) // 39)[1] for k in range(40)))
        chance = random.Random(5)
        for k in range(40, 50):
            shutil.copytree(whole, folder / f"r{{k}}")
            pid = os.fork()
            if pid == 0:
                seal_run(folder / f"r{{k}}", "r")
                os._exit(0)
            time.sleep(chance.random() * 0.02)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        """
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    events, killed = map(int, result.stdout.split())
    assert events > 400
    assert killed >= 35, "the last may end by themselves, should sealing do a little less than when counted"
    for trial in range(50):
        path = tmp_path / f"r{trial}"
        for kind in ("step", "mark"):
            assert read_kind(path, kind).column("step").to_pylist() == list(range(60))
        seal_run(path, "r")
        report = verify_run(path)
        assert report["ok"] is True, report
        assert report["events"] == {"step": 60, "sample": 0, "alert": 0, "mark": 60, "metric": 0}


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
