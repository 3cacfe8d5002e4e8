"""What this thread is in the middle of: a capture, a backward pass, or work that is not the training's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class _Ours(threading.local):
    is_on = False


_ours = _Ours()


@contextmanager
def unseen() -> Iterator[None]:
    """Let nobody see what this thread does inside the block: it is an experiment's, not the training's."""
    before, _ours.is_on = _ours.is_on, True
    try:
        yield
    finally:
        _ours.is_on = before


def is_unseen() -> bool:
    """Whether this thread is inside a block of `unseen`."""
    return _ours.is_on


def is_capturing() -> bool:
    """Whether this thread captures a CUDA graph; never initialises CUDA."""
    cuda: Any = torch.cuda  # some versions of it have no types here
    return bool(cuda.is_initialized() and cuda.is_current_stream_capturing())


def is_inside_backward() -> bool:
    """Whether autograd is running: checkpointing computes parts of a gradient by itself."""
    return bool(torch._C._current_graph_task_id() != -1)
