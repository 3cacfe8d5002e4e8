"""The wait for a device that has been given work and has not done it yet."""

import sys
import time


def wait_for_device() -> float:
    """Wait until CUDA, where this process uses it, has done what it was given; return how long, s.

    Never initialises CUDA, and waits for nothing while a graph is captured, which that would break.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized() or cuda.is_current_stream_capturing():
        return 0.0
    begun_ns = time.monotonic_ns()
    cuda.synchronize()
    return (time.monotonic_ns() - begun_ns) / 1e9
