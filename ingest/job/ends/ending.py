"""The end of a run: done whole, whatever interrupts it and however often."""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from thermograd.ingest.job.ends import exits
from thermograd.store.failures import Guard, is_running

_MOST_INTERRUPTS = 100
_promised: "set[Ending]" = set()
_last_words = Guard("thermograd could not record the exit code: %(error)s")


class Ending:
    """The parts of an end, each done once and in order; what one raises, the guard keeps.

    Ctrl-C, or what a signal handler raises, reaches the caller when the end is complete. A second one reaches
    them at once; what is left is then done at the interpreter's exit.
    """

    def __init__(self, parts: list[Callable[[], object]], guard: Guard) -> None:
        self._parts, self._guard = parts, guard
        self._turn = threading.RLock()

    def promise(self) -> None:
        """Let the end come at the interpreter's exit at the latest."""
        if not _promised and "multiprocessing" in sys.modules:
            _keep_promises_in_a_child()
        _promised.add(self)

    def do(self) -> None:
        """Do what has not been done; in a signal handler that interrupts this, nothing."""
        self.promise()
        try:
            self._go_on()
        except BaseException:  # Ctrl-C: the end is completed first, then it is passed on
            self._go_on()
            raise
        _promised.discard(self)

    def _go_on(self) -> None:
        if is_running(Ending._go_on.__code__):
            return
        while self._parts:  # of an abandoned one none: in a forked child the lock may be held for ever
            with self._turn:
                self._do_next()

    def _do_next(self) -> None:
        for part in self._parts[:1]:  # none where another thread has been quicker
            with self._guard:
                part()
            del self._parts[:1]

    def abandon(self) -> None:
        """Do nothing any more."""
        self._parts = []
        _promised.discard(self)


def insisted(end: Callable[[], object]) -> None:
    """Come to an end where an exception is on its way already: a Ctrl-C ends a wait, and is not passed on."""
    for _ in range(_MOST_INTERRUPTS):
        try:
            end()
            return
        except KeyboardInterrupt:
            continue


@contextmanager
def ended_if_it_fails(end: Callable[[], object]) -> Iterator[None]:
    """End what the block has begun with, where the block fails: nobody else will get hold of it."""
    try:
        yield
    except BaseException:  # whatever it is, it is passed on
        end()
        raise


def _abandon_all() -> None:
    """In a forked child: these are the parent's."""
    for ending in list(_promised):
        ending.abandon()
    exits.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


@atexit.register
def _keep_promises() -> None:
    insisted(_keep_each)  # nobody is left whom a Ctrl-C could reach


def _keep_each() -> None:
    for ending in list(_promised):
        ending.do()
    with _last_words:
        exits.amend()


def _keep_promises_in_a_child() -> None:
    """Let a process of multiprocessing, which may end without `atexit`, keep them too."""
    from multiprocessing import parent_process, util

    if parent_process() is not None:
        util.Finalize(None, _keep_promises, exitpriority=0)
