"""A load beside a training, in a process of its own: ``python burning.py PARENT PLACES LOAD``.

A script of the standard library and numpy, or torch, so that it is there soon and takes little. It says
``ready``, then follows its stdin: ``1`` lets it work, ``0`` rest, and the end of it, or of the process that
started it, is its own. It is not tied to its parent by PR_SET_PDEATHSIG, which ends a process with the
*thread* that started it.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

_NICE = 10
_POLL_S = 0.5
_CPU_SIDE, _GPU_SIDE = 384, 2048  # of the matrices: 2 MiB a core, 24 MiB a GPU
_BURST = 8


def _work_on_core(core: int | None) -> Callable[[], None]:
    """Return a few milliseconds of work for the core that this thread is bound to, where it can be."""
    import numpy

    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    left = numpy.random.default_rng(0).standard_normal((_CPU_SIDE, _CPU_SIDE), dtype=numpy.float32)
    out = numpy.empty_like(left)

    def work() -> None:
        numpy.matmul(left, left, out=out)  # the interpreter's lock is free meanwhile

    return work


def _work_on_gpu(load: float) -> Callable[[], None]:
    """Return a burst of work for the one GPU that this process sees, and a rest after it."""
    torch: Any = import_module("torch")
    stream = torch.cuda.Stream(priority=0)  # the lowest
    left = torch.randn(_GPU_SIDE, _GPU_SIDE, device="cuda", dtype=torch.float16)
    out = torch.empty_like(left)
    torch.cuda.synchronize()

    def work() -> None:
        begun = time.monotonic()
        with torch.cuda.stream(stream):
            for _ in range(_BURST):
                torch.matmul(left, left, out=out)
        stream.synchronize()
        time.sleep((time.monotonic() - begun) * (1 - load) / load)

    return work


def _burn(make: Callable[[], Callable[[], None]], may: threading.Event, ready: threading.Semaphore) -> None:
    try:
        work = make()
        work()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from working is told, and ends it
        _say(f"{type(error).__name__}: {error}")
        os._exit(1)
    ready.release()
    while True:
        may.wait()
        work()


def _follow(may: threading.Event) -> None:
    """Follow stdin to its end."""
    while word := os.read(0, 1):
        if word == b"1":
            may.set()
        else:
            may.clear()
    os._exit(0)


def _say(text: str) -> None:
    os.write(1, " ".join(text.split()).encode("utf-8", "replace") + b"\n")


def main(parent: int, places: str, load: float) -> None:
    """Work where we are told: on ``gpu``, on cores as ``3,5``, or on two that the system chooses, ``x2``."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    may, ready = threading.Event(), threading.Semaphore(0)
    makers: list[Callable[[], Callable[[], None]]]
    if places == "gpu":
        makers = [partial(_work_on_gpu, load)]
    elif places.startswith("x"):
        makers = [partial(_work_on_core, None)] * int(places[1:])
    else:
        makers = [partial(_work_on_core, int(core)) for core in places.split(",")]
    threading.Thread(target=_follow, args=(may,), daemon=True).start()
    for make in makers:
        threading.Thread(target=_burn, args=(make, may, ready), daemon=True).start()
    for _ in makers:
        ready.acquire()
    _say("ready")
    while os.getppid() == parent:  # forked workers may keep our stdin open
        time.sleep(_POLL_S)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
