"""Stopping the process of a query, for DuckDB does not always let itself be stopped.

DuckDB asks for Python's Ctrl-C and for its own interrupt between two morsels of work only: not while it
plans, and not inside one call of a function, where ``length(repeat('x', 2e9))`` stays for minutes. So a
process that does nothing but answer a query leaves Ctrl-C to the operating system.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from thermograd.store.errors import QueryError

Answer = TypeVar("Answer")

INTERRUPTED = (-signal.SIGINT, 0xC000013A)  # exit codes of a process that Ctrl-C ended: POSIX, Windows
_PR_SET_PDEATHSIG = 1
_LONGEST_S = 1e7  # that a time-out may be
_GRACE_S = 0.5  # for DuckDB's own interrupt, which gives the better end


def too_late(timeout_s: float) -> str:
    """Return the message of a query that has used up its time."""
    return f"the query was stopped after {timeout_s:g} s (--timeout)"


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the process at once, wherever it is, with the status that a shell expects.

    Only where Python's own handler stands: another one has its reasons, and who starts a command with the
    signal ignored (a script, in its background) wants it ignored. Use it in the main thread.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def acting_after(seconds: float | None, act: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Call a function from another thread if the block takes longer than so many seconds; None: never."""
    if seconds is None:
        yield
        return
    _check(seconds)
    timer = threading.Timer(seconds, act, arguments)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def in_time(work: Callable[[], Answer], stop: Callable[[], object], timeout_s: float | None) -> Answer:
    """Return what `work` returns, called in another thread: Ctrl-C and the time-out are heeded at once.

    `stop` is called then, and the other thread ends by itself when its work heeds it.

    Raises
    ------
    QueryError
        If it takes too long.
    """
    if timeout_s is not None:
        _check(timeout_s)
    answers: queue.SimpleQueue[tuple[Answer, BaseException | None]] = queue.SimpleQueue()
    threading.Thread(
        target=_answer, args=(work, answers.put)
    ).start()  # no daemon: DuckDB would abort at exit
    try:
        answer, error = answers.get(timeout=timeout_s)
    except queue.Empty:
        stop()
        raise QueryError(too_late(timeout_s or 0.0)) from None
    except KeyboardInterrupt:
        stop()
        raise
    if error is not None:
        raise error
    return answer


def _answer(work: Callable[[], Any], put: Callable[[Any], None]) -> None:
    try:
        put((work(), None))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
        put((None, error))


def _check(timeout_s: float) -> None:
    if not 0 < timeout_s <= _LONGEST_S:
        raise QueryError(f"the time-out is {timeout_s} s; allowed: above 0, at most {_LONGEST_S:.0f}")


def ended_after(timeout_s: float | None) -> contextlib.AbstractContextManager[None]:
    """End the process, with a sentence and exit code 1, if a query does not heed its time-out."""
    return acting_after(None if timeout_s is None else timeout_s + _GRACE_S, _end, timeout_s)


def _end(timeout_s: float) -> None:
    sys.stderr.write(f"Error: {too_late(timeout_s)}\n")
    sys.stderr.flush()
    os._exit(1)  # not sys.exit: that would wait for DuckDB


def end_with_parent(parent: int) -> None:
    """See to it that this process does not outlive its parent, however that one ends.

    Linux ends it; elsewhere it waits for the end of its input, which the parent holds open.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


@contextlib.contextmanager
def ending_as_a_shell_expects() -> Iterator[None]:
    """Let Ctrl-C, when the block has put away what it had begun, end the process as the system would."""
    try:
        yield
    except KeyboardInterrupt:
        with ended_by_ctrl_c():
            signal.raise_signal(signal.SIGINT)
        raise
