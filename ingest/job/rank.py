"""The place of this process among the processes of a job, and the run id that all of them use.

What `torchrun`, SLURM or MPI say in the environment; where `torch.distributed` runs already, its word.
"""

import hashlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from thermograd.store.failures import Guard
from thermograd.store.runs.catalogue import new_run_id
from thermograd.store.text import slug

_log = logging.getLogger("thermograd")
_STORE_WAIT = timedelta(seconds=10)
_RANK = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_LOCAL_RANK = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_WORLD_SIZE = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_NODE_RANK = ("GROUP_RANK", "SLURM_NODEID", "OMPI_COMM_WORLD_NODE_RANK")
_OF_THE_JOB = (
    "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "OMPI_MCA_ess_base_jobid", "PMIX_NAMESPACE",
)  # fmt: skip
_MOST_DIGITS = 10
_uses: Counter[str] = Counter()
_questions = Guard("thermograd could not ask torch: %(error)s", _log.debug)


class Place(NamedTuple):
    """Rank, rank within the node, number of processes, number of the node (None where nobody says)."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    node_rank: int | None = None


def _number(names: tuple[str, ...], environment: Mapping[str, str]) -> int | None:
    texts = (environment.get(name, "") for name in names)
    return next((int(text) for text in texts if text.isdecimal() and len(text) < _MOST_DIGITS), None)


def place_of_this_process(environment: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place."""
    if "RANK" not in environment and "SLURM_STEP_ID" not in environment:
        # SLURM sets its variables in a batch script too, which is one process whatever they say
        environment = {n: v for n, v in environment.items() if not n.startswith("SLURM_")}
    rank, size = _number(_RANK, environment), _number(_WORLD_SIZE, environment)
    if (running := _distributed()) is not None:
        with _questions:
            rank, size = running.get_rank(), running.get_world_size()
    local_rank = _number(_LOCAL_RANK, environment)
    local_rank = rank or 0 if local_rank is None else local_rank
    return Place(rank or 0, local_rank, max(1, size or 1), _number(_NODE_RANK, environment))


def _distributed() -> Any:
    """Return torch.distributed if this process has started it; never imports it."""
    module = sys.modules.get("torch.distributed")
    try:
        return module if module is not None and module.is_available() and module.is_initialized() else None
    except AttributeError:  # it is being imported
        return None


def job_store() -> Any:
    """Return the store of `torch.distributed`; None in a job of one process."""
    running = _distributed()
    if running is None or running.get_world_size() == 1:
        return None
    return running.distributed_c10d._get_default_store()


def agree_on_run_id(name: str, place: Place, environment: Mapping[str, str] = os.environ) -> str:
    """Return the id of the run; the same in every process of the job.

    A launcher's ``THERMOGRAD_RUN_ID`` comes first. Else rank 0 makes one and hands it on through the
    store that `torch.distributed` or torchrun's agent runs anyway; else it is made from what all
    processes know. The second run of a process gets another id than the first, and so does the run of a
    job that torchrun has restarted.
    """
    if given := environment.get("THERMOGRAD_RUN_ID"):
        restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
        return _again(given + ("" if restarts == "0" else f"-restart{restarts}"))
    if place.world_size == 1:
        return new_run_id(name)
    with Guard("thermograd could not use the job's store: %(error)s", _log.debug):  # other ways are left
        if (store := _store(environment)) is not None:
            return _through(store, name, place, environment)
    return _again(_from_what_all_know(name, place, environment))


def _again(key: str) -> str:
    """Return a key that is used once in this process."""
    _uses[key] += 1
    return key if _uses[key] == 1 else f"{key}-{_uses[key]}"


def _store(environment: Mapping[str, str]) -> Any:
    """Return a key-value store that all processes of the job reach, if there is one already."""
    if (store := job_store()) is not None:
        return store
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or "torch" not in sys.modules:
        return None
    import torch.distributed as dist

    return dist.TCPStore(  # type: ignore[attr-defined]
        environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False, timeout=_STORE_WAIT
    )


def _through(store: Any, name: str, place: Place, environment: Mapping[str, str]) -> str:
    key = _again(f"thermograd/run/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}")
    if place.rank == 0:
        run_id = new_run_id(name)
        store.set(key, run_id)
        return run_id
    store.wait([key], _STORE_WAIT)
    return str(store.get(key).decode())


def _from_what_all_know(name: str, place: Place, environment: Mapping[str, str]) -> str:
    """Return an id made from the job's address and, on one node, from the process that started it."""
    import psutil

    parts = [environment.get(variable, "") for variable in _OF_THE_JOB]
    started_s = None
    if environment.get("LOCAL_WORLD_SIZE", str(place.world_size)) == str(place.world_size):
        parent = psutil.Process().parent()
        if parent is not None:
            started_s = parent.create_time()
            parts += [str(parent.pid), f"{started_s:.2f}"]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    day = f"{datetime.fromtimestamp(started_s, UTC):%Y%m%d-%H%M%S}-" if started_s is not None else ""
    return f"{day}{slug(name)}-{digest}"


def cuda_device() -> str | None:
    """Return ``GPU-<uuid>`` of the device this process computes on; None before CUDA is initialised.

    Never initialises CUDA: that would take memory, and break processes that are forked later.
    """
    torch = sys.modules.get("torch")
    if torch is None or not getattr(
        getattr(torch, "cuda", None), "_initialized", True
    ):  # asked at every step
        return None
    with _questions:
        if torch.cuda.is_initialized():
            return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    return None
