"""Linear algebra on one thread: the matrices of an analysis are small.

On them OpenBLAS's threads spend many times more processor time waiting for each other than computing, and
take longer. The limit holds within a call and for this process only: no variable of the environment is set,
so nothing that is started afterwards inherits it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_limited = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS use one thread within, and as many as before afterwards; also a decorator.

    The number of BLAS threads is the process's. So it is set, and put back, by the outermost of nested
    calls, and by the first of calls that overlap in several threads; the others leave it alone, and what
    they still have to do after the first has ended is slower, not different.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread():
    ...     float(np.ones(3) @ np.ones(3))
    3.0
    """
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with _threadpoolctl().threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()


def _threadpoolctl() -> Any:
    """Return the package; the variable that it sets when it is imported is taken back."""
    was_set = "KMP_DUPLICATE_LIB_OK" in os.environ
    import threadpoolctl

    if not was_set:
        os.environ.pop("KMP_DUPLICATE_LIB_OK", None)
    return threadpoolctl
