"""Pieces of work of one analysis at the same time: numpy and BLAS do theirs without Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Answer = TypeVar("_Answer")
_MOST = 2  # each piece holds memory while it lasts


def threads_here() -> int:
    """Return how many pieces of work pay at a time: two, or one on one processor.

    And one where OMP_NUM_THREADS says so, as for what thermograd starts beside a training.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if os.environ.get("OMP_NUM_THREADS") == "1" else min(_MOST, cores)


def side_by_side(pieces: Iterable[Callable[[], _Answer]], threads: int) -> Iterator[_Answer]:
    """Yield what pieces of work return, in their order; so many are worked at at a time.

    The next piece is asked for, in the caller's thread, when one of these is done. With one thread all is
    done in the caller's. Nobody waits for pieces that have begun where the caller stops asking: on Ctrl-C, or
    where one fails.
    """
    if threads < 2:
        for piece in pieces:
            answer = piece()
            del piece  # and what it holds, before there is another
            yield answer
        return
    pool, begun = ThreadPoolExecutor(threads), deque[Future[_Answer]]()
    try:
        for piece in pieces:
            begun.append(pool.submit(piece))
            if len(begun) == threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except (KeyboardInterrupt, GeneratorExit):  # which the caller's loop may have been in
        from thermograd.store.console import leave_at_once

        leave_at_once()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
