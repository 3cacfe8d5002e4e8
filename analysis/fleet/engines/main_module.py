"""The script that is running, kept out of the processes that it starts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def unrepeated_main(task: Any) -> Iterator[None]:
    """Let processes begin that do not run this process's script again, which may guard nothing.

    A task of the script itself needs it there: then nothing is changed.
    """
    main: Any = sys.modules["__main__"]
    names = () if _module_of(task) == "__main__" else ("__spec__", "__file__")
    before = {name: vars(main)[name] for name in names if name in vars(main)}
    if "__spec__" in before:
        main.__spec__ = None
    if "__file__" in before:
        del main.__file__
    try:
        yield
    finally:
        vars(main).update(before)


def _module_of(task: Any) -> str | None:
    while isinstance(task, partial):
        task = task.func
    return getattr(task, "__module__", None)
