import json
import os
import socket
import time

import pytest
from thermograd.store import processes as lock_module
from thermograd.store.processes import ProcessLock, process_facts


def lock_file(run_dir, number=0):
    return next(path for path in run_dir.glob("seal.*.lock") if path.name.endswith(f".{number}.lock"))


def test_the_lock_of_a_living_process_is_respected_and_released_at_its_end(tmp_path):
    first, second = ProcessLock(tmp_path, "seal"), ProcessLock(tmp_path, "seal")
    assert first.acquire()
    assert not second.acquire()
    second.release()
    assert lock_file(tmp_path).exists(), "only the holder removes it"
    first.release()
    assert second.acquire()


@pytest.mark.parametrize("content", [None, "{}", '{"pid": 1}', "[]", "half a li"])
def test_the_lock_of_a_dead_process_is_taken_over_once(tmp_path, content):
    ProcessLock(tmp_path, "seal").acquire()
    stale = lock_file(tmp_path)
    gone = process_facts() | {"pid": 2**22 + 7}
    stale.write_text(json.dumps(gone) if content is None else content)
    os.utime(stale, (time.time() - 100, time.time() - 100))
    heir, late = ProcessLock(tmp_path, "seal"), ProcessLock(tmp_path, "seal")
    assert heir.acquire()
    assert not late.acquire()
    heir.release()


def test_a_lock_that_is_being_written_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "_HALF_WRITTEN_S", 3600.0)
    ProcessLock(tmp_path, "seal").acquire()
    lock_file(tmp_path).write_text("")
    assert not ProcessLock(tmp_path, "seal").acquire()


def test_a_holder_on_another_host_counts_as_gone_a_minute_after_its_last_sign(tmp_path, monkeypatch):
    held = ProcessLock(tmp_path, "seal")
    assert held.acquire()
    monkeypatch.setattr(socket, "gethostname", lambda: "other-host")
    assert not ProcessLock(tmp_path, "seal").acquire()
    os.utime(lock_file(tmp_path), (time.time() - 100, time.time() - 100))
    held.refresh()
    assert not ProcessLock(tmp_path, "seal").acquire()
    os.utime(lock_file(tmp_path), (time.time() - 100, time.time() - 100))
    assert ProcessLock(tmp_path, "seal").acquire()


def test_locks_of_other_names_are_other_locks(tmp_path):
    assert ProcessLock(tmp_path, "seal").acquire()
    assert ProcessLock(tmp_path, "agent-a.b").acquire()
