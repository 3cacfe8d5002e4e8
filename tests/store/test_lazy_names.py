"""Packages that import their names when they are first used, and what must not come into an import."""

import contextlib
import gc
import os
import threading

import pytest
from thermograd.store import lazy_names
from thermograd.store.lazy_names import no_collection, no_fork


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_put_off_and_left_as_it_was(was_enabled):
    before = gc.isenabled()
    try:
        gc.enable() if was_enabled else gc.disable()
        with contextlib.suppress(KeyError), no_collection(), no_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable() if before else gc.disable()


def forked(do):
    """Fork; return the exit code of the child, which is what `do` returns there."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = int(do())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enter():
    """Return 0 once the block could be entered, which another thread may have been in at the fork."""
    entered = threading.Event()

    def block():
        with no_fork():
            entered.set()

    threading.Thread(target=block, daemon=True).start()
    return not entered.wait(20)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_a_fork_waits_until_the_block_of_another_thread_is_done():
    happened, inside = [], threading.Event()

    def block():
        with no_fork():
            inside.set()
            threading.Event().wait(0.3)
            happened.append("done")

    thread = threading.Thread(target=block)
    thread.start()
    inside.wait()
    assert forked(enter) == 0
    happened.append("forked")
    thread.join()
    assert happened == ["done", "forked"]


@needs_fork
def test_a_fork_does_not_wait_for_ever_and_the_child_is_free(monkeypatch):
    monkeypatch.setattr(lazy_names, "_LONGEST_WAIT_S", 0.01)
    inside, release = threading.Event(), threading.Event()

    def block():
        with no_fork():
            inside.set()
            release.wait()

    thread = threading.Thread(target=block)
    thread.start()
    inside.wait()
    assert forked(enter) == 0
    release.set()
    thread.join()
    assert enter() == 0, "and so is the parent, afterwards"


@needs_fork
def test_who_forks_inside_the_block_does_not_wait_for_itself():
    with no_fork():
        assert forked(enter) == 0
    assert enter() == 0
