import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from thermograd.store import locks
from thermograd.store.locks import ProcessLock, is_held


def test_the_lock_of_a_living_process_is_respected_and_released_at_its_end(tmp_path):
    first, second = ProcessLock(tmp_path, "seal"), ProcessLock(tmp_path, "seal")
    assert first.acquire()
    assert not second.acquire()
    second.release()
    assert first.path.exists(), "only the holder removes it"
    assert is_held(first.path)
    first.release()
    assert is_held(first.path) is None
    assert second.acquire()


@pytest.mark.parametrize("content", [None, "", "{}", '{"pid": 1}', "[]", "half a li", "[" * 100_000])
def test_the_lock_of_a_dead_process_is_taken_over_once(tmp_path, content):
    script = f"""
import os, pathlib
from thermograd.store.locks import ProcessLock
assert ProcessLock(pathlib.Path({str(tmp_path)!r}), "seal").acquire()
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    heir, late = ProcessLock(tmp_path, "seal"), ProcessLock(tmp_path, "seal")
    if content is not None:
        heir.path.write_text(content)
    assert is_held(heir.path) is False
    assert heir.acquire()
    assert not late.acquire()
    heir.release()


def clock(**readings):
    """Return clocks for the module alone: other threads go on by theirs."""
    ours = {"time": time.time, "monotonic_ns": time.monotonic_ns, "sleep": time.sleep}
    return SimpleNamespace(**ours | readings)


@pytest.mark.parametrize("shift_s", [-3600, 3, 3600, 86_400 * 365])
def test_a_clock_that_is_set_changes_nothing(tmp_path, monkeypatch, shift_s):
    held = ProcessLock(tmp_path, "seal")
    assert held.acquire()
    monkeypatch.setattr(locks, "time", clock(time=lambda: time.time() + shift_s))
    assert is_held(held.path)
    assert not ProcessLock(tmp_path, "seal").acquire()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that has no locks."""
    monkeypatch.setattr(locks, "_try_lock", lambda handle, shared=False: None)


@pytest.mark.usefixtures("no_locks")
def test_where_files_have_no_locks_a_holder_counts_as_gone_minutes_after_its_last_sign(tmp_path, monkeypatch):
    held = ProcessLock(tmp_path, "seal")
    assert held.acquire()
    monkeypatch.setattr(locks, "time", ours := clock(time=lambda: 0.0))  # set far back: not asked
    assert is_held(held.path)
    assert not ProcessLock(tmp_path, "seal").acquire()
    begun_ns = json.loads(held.path.read_bytes())["monotonic_ns"]
    ours.monotonic_ns = lambda: begun_ns + 299_000_000_000
    assert is_held(held.path)
    held.refresh()
    ours.monotonic_ns = lambda: begun_ns + 598_000_000_000
    assert is_held(held.path)
    ours.monotonic_ns = lambda: begun_ns + 600_000_000_000
    assert is_held(held.path) is False
    assert ProcessLock(tmp_path, "seal").acquire()


def test_a_holder_on_another_machine_is_asked_by_the_age_of_its_file(tmp_path):
    held = ProcessLock(tmp_path, "seal")
    assert held.acquire()
    beat = json.loads(held.path.read_bytes()) | {"boot_id": "another"}
    held._let_go()  # its lock is not seen from here
    held.path.write_text(json.dumps(beat))
    assert is_held(held.path)
    assert not ProcessLock(tmp_path, "seal").acquire()
    os.utime(held.path, (time.time() - 301, time.time() - 301))
    assert is_held(held.path) is False
    assert ProcessLock(tmp_path, "seal").acquire()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_a_forked_child_does_not_keep_the_lock_beyond_its_parents_end(tmp_path):
    held = ProcessLock(tmp_path, "seal")
    assert held.acquire()
    read, write = os.pipe()
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(say, b"x")
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    assert os.read(ready, 1)
    assert is_held(held.path)
    os.close(held._handle)  # as the kernel does when the parent dies
    try:
        assert is_held(held.path) is False
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(say)


def test_locks_of_other_names_are_other_locks(tmp_path):
    assert ProcessLock(tmp_path, "seal").acquire()
    assert ProcessLock(tmp_path, "agent-a.b").acquire()
