"""How little of the trainer's machine the agent takes: one thread, and no memory pools of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

FRUGAL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
}


@contextmanager
def frugal() -> Iterator[None]:
    """Have numpy and pyarrow take little, where they are imported within for the first time.

    For a process that is its own agent. They read these variables when they are loaded, so the variables
    are put back at the end. (MALLOC_ARENA_MAX is read before Python starts: it has no effect here.)

    Examples
    --------
    >>> import os
    >>> before = dict(os.environ)
    >>> with frugal():
    ...     os.environ["OPENBLAS_NUM_THREADS"]
    '1'
    >>> os.environ == before
    True
    """
    before = {name: os.environ.get(name) for name in FRUGAL}
    os.environ.update(FRUGAL)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
