"""Which workers do the work, and whether a cluster would pay for it."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
from thermograd.analysis.fleet.engines.local import InThisProcess, Processes
from thermograd.analysis.fleet.engines.mapping import Failed, Task, Workers, mapped

Engine = Literal["local", "ray", "dask"]
ENGINES: tuple[Engine, ...] = ("local", "ray", "dask")

_POOL_PAYS_S = 5.0  # of work; a process takes a second or two to begin
_CLUSTER_PAYS_S = 600.0  # of wall time on this machine's cores


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(
    task: Task, engine: Engine = "local", address: str | None = None, work_s: float | None = None
) -> Workers:
    """Return the workers of an engine.

    `work_s` is how long one core would take: so little that it is over sooner than other processes begin is
    done in this one. Where it is not known, processes are used.

    Raises
    ------
    MissingExtraError
        If the engine's package is not installed.
    ThermogradError
        If there is no cluster at the address.
    """
    if engine == "local":
        small = work_s is not None and work_s < _POOL_PAYS_S
        return InThisProcess(task) if small or cores() == 1 else Processes(task, cores())
    from thermograd.analysis.fleet.engines.clusters import DaskTasks, RayTasks

    return RayTasks(task, address, cores()) if engine == "ray" else DaskTasks(task, address, cores())


def map_chunks(
    chunks: Sequence[Sequence[Any]],
    fn: Task,
    engine: Engine = "local",
    address: str | None = None,
    *,
    failed: Failed | None = None,
) -> Iterator[pa.Table]:
    """Yield what a function makes of every chunk, in the order of the chunks, on any engine.

    Parameters
    ----------
    chunks
        Lists of items; an item must pickle.
    fn
        A function of a module, from the items of a chunk to a table. It only reads, and answers the same
        each time: it may be called again.
    engine, address
        "local": this machine's cores. "ray", "dask": the cluster at `address`, or one that is made here.
    failed
        Makes the table of an item whose answer cannot be had, given why; default one with the columns
        ``failed_item`` and ``error``, which are null for the others of its chunk.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; expected one of: {', '.join(ENGINES)}")
    done: dict[int, pa.Table] = {}
    due = [number for number, items in enumerate(chunks) if len(items)]
    for number, table in mapped(chunks, workers_for(fn, engine, address), failed or _failed):
        done[number] = table
        while due and due[0] in done:
            yield done.pop(due.pop(0))


def _failed(item: Any, why: str) -> pa.Table:
    return pa.table({"failed_item": [str(item)], "error": [why]})


def advice(engine: Engine, work_s: float) -> str:
    """Return a sentence where another engine than the one asked for would do better; else nothing."""
    here_s = work_s / cores()
    if engine != "local" and here_s < _CLUSTER_PAYS_S:
        return (
            f"A cluster does not pay here: this machine's {cores()} cores would take about "
            f"{_time(here_s)} (--engine local)."
        )
    if engine == "local" and here_s > _CLUSTER_PAYS_S:
        return (
            f"This will take about {_time(here_s)} on {cores()} cores; a cluster divides that by its cores "
            "(--engine ray or dask, --address)."
        )
    return ""


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
