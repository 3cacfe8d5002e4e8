"""Tasks for the engines of a fleet, in a module that their workers can import."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa


def squares(items: Sequence[int]) -> pa.Table:
    """Return the numbers with their squares."""
    return pa.table({"item": pa.array(items, pa.int64()), "square": [each * each for each in items]})


def failed(item: object, why: str) -> pa.Table:
    """Return what stands for a number without a square."""
    return pa.table({"item": pa.array([_number(item)], pa.int64()), "square": pa.array([None], pa.int64())})


def poisoned(items: Sequence[int]) -> pa.Table:
    """Kill the worker at 13, raise at 17."""
    if 13 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    if 17 in items:
        raise ValueError("17 is no number for us")
    return squares(items)


def killed_once(items: Sequence[tuple[int, str]]) -> pa.Table:
    """Kill the worker at the item whose file is not there yet, and leave the file."""
    for _, path in items:
        if path and not Path(path).exists():
            Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return squares([number for number, _ in items])


def endangered(killed: Path, question: Any, addresses: Sequence[str]) -> pa.Table:
    """Analyse runs; kill the worker the first time of all, and with "kills" each time; raise at "raises"."""
    names = {Path(address).name for address in addresses}
    if "kills" in names or not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "raises" in names:
        raise ValueError("this run is not for us")
    from thermograd.analysis.fleet.task import analyse_chunk

    return analyse_chunk(question, addresses)


def waiting(question: Any, addresses: Sequence[str]) -> pa.Table:
    """Leave a file with this process' number in the run, and wait for ten minutes."""
    (Path(addresses[0]) / f"{os.getpid()}.pid").touch()
    time.sleep(600)
    raise TimeoutError(f"nobody ended the analysis of {question}")


def slow(items: Sequence[int]) -> pa.Table:
    """Take ten minutes for a chunk."""
    time.sleep(600)
    return squares(items)


def _number(item: object) -> int:
    return item[0] if isinstance(item, tuple) else int(str(item))
