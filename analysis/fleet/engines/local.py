"""Workers on this machine: this process itself, or as many processes as there are cores."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

import pyarrow as pa
from thermograd.analysis.fleet.engines.main_module import unrepeated_main
from thermograd.analysis.fleet.engines.mapping import Task, WorkerDiedError


class InThisProcess:
    """Does one chunk after the other, here: for little work the fastest, and nothing is left behind."""

    name, parallel, shares_fate, retries = "local, in this process", 1, False, False

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: deque[tuple[int, Sequence[Any]]] = deque()

    def submit(self, number: int, items: Sequence[Any]) -> None:
        """Remember a chunk."""
        self._waiting.append((number, items))

    def finished(self) -> list[tuple[int, pa.Table | BaseException]]:
        """Do the next chunk."""
        number, items = self._waiting.popleft()
        try:
            return [(number, self._task(items))]
        except Exception as error:  # noqa: BLE001 - whatever a chunk raises is told of, the others go on
            return [(number, error)]

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()


class Processes:
    """A pool of processes. One that is killed breaks it: what was under way fails, and a new one is made."""

    shares_fate, retries = True, False

    def __init__(self, task: Task, count: int) -> None:
        self.name, self.parallel = f"local, {count} processes", count
        self._task, self._count = task, count
        self._others = set(multiprocessing.active_children())
        self._pool: ProcessPoolExecutor | None = None
        self._futures: dict[Future[pa.Table], int] = {}

    def submit(self, number: int, items: Sequence[Any]) -> None:
        """Give a chunk to the pool."""
        if self._pool is None:
            # A fork would take the locks of Arrow's and DuckDB's threads with it.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin)
        try:
            with _no_interrupt(), unrepeated_main(self._task):
                future = self._pool.submit(self._task, items)
        except BrokenProcessPool as error:  # it broke since the last look
            future = Future()
            future.set_exception(error)
        self._futures[future] = number

    def finished(self) -> list[tuple[int, pa.Table | BaseException]]:
        """Wait for the next; where the pool broke, return all that was under way as failed by death."""
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done, _ = wait(self._futures)
            self._end()
        return [
            (self._futures.pop(future), _answer(future))
            for future in sorted(done, key=self._futures.__getitem__)
        ]

    def close(self) -> None:
        """Kill the pool's processes."""
        self._end()
        self._futures.clear()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        children = set(multiprocessing.active_children()) - self._others
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:  # they only read: there is nothing to finish
            child.kill()
            child.join()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Put Ctrl-C off, also for processes that begin: before `_begin` it would be told of by each of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would take the mask away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(future: "Future[pa.Table]") -> pa.Table | BaseException:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return WorkerDiedError("a process of the pool ended abruptly")
    return error or future.result()


def _begin() -> None:
    """Let Ctrl-C be the parent's affair, and end with the parent, however that ends."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
