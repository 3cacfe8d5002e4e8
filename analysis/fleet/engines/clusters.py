"""Workers of a cluster that a team has, or of one that is made for the occasion: Ray's and Dask's.

Neither is imported before it is asked for. Both try a task again whose worker or machine died.
"""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from typing import Any

import pyarrow as pa
from thermograd.analysis.fleet.engines.main_module import unrepeated_main
from thermograd.analysis.fleet.engines.mapping import Task, WorkerDiedError
from thermograd.store.errors import MissingExtraError, ThermogradError

_TRIES = 3  # of a task whose worker died


class RayTasks:
    """Tasks of Ray, on the cluster at an address or on this machine's cores."""

    shares_fate, retries = False, True

    def __init__(self, task: Task, address: str | None, count: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise _missing("ray", "ray") from error
        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect_ray(ray, address, count)
        cores = int(self._ray.cluster_resources().get("CPU", count))
        self.parallel = 2 * max(cores, 1)
        self.name = f"ray at {address}, {cores} cores" if address else f"ray on this machine, {cores} cores"
        # A file that cannot be read is a row with its error: only a death is tried again by Ray itself.
        self._call = ray.remote(max_retries=_TRIES, retry_exceptions=False)(_called)
        self._task = ray.put(task)
        self._under_way: dict[Any, int] = {}
        died = self._ray.exceptions
        self._deaths = (
            died.WorkerCrashedError,
            died.NodeDiedError,
            died.ObjectLostError,
            died.OutOfMemoryError,
        )

    def submit(self, number: int, items: Sequence[Any]) -> None:
        """Hand a chunk to Ray."""
        self._under_way[self._call.remote(self._task, items)] = number

    def finished(self) -> list[tuple[int, pa.Table | BaseException]]:
        """Wait for the next."""
        done, _ = self._ray.wait(list(self._under_way), num_returns=1)
        return [(self._under_way.pop(one), self._answer(one)) for one in done]

    def _answer(self, one: Any) -> pa.Table | BaseException:
        errors = self._ray.exceptions
        try:
            return self._ray.get(one)
        except errors.RayTaskError as error:
            return error.cause if isinstance(error.cause, Exception) else error
        except self._deaths as error:
            return WorkerDiedError(_line(error))
        except errors.RayError as error:
            return RuntimeError(_line(error))

    def close(self) -> None:
        """Cancel what is under way; end the Ray that was begun here."""
        for one in self._under_way:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(one, force=True)
        self._under_way.clear()
        if self._is_ours:
            self._ray.shutdown()


def _called(task: Task, items: Sequence[Any]) -> pa.Table:
    return task(items)


def _connect_ray(ray: Any, address: str | None, count: int) -> None:
    quiet = {"include_dashboard": False, "num_cpus": count} if address is None else {}
    try:
        # "local": what another Ray left on this machine must not be joined.
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ThermogradError(
            f"cannot reach a Ray cluster at {address or 'this machine'}: {_line(error)}; "
            "--address takes what ray.init takes, such as host:6379 or ray://host:10001"
        ) from error


class DaskTasks:
    """Tasks of Dask, on the scheduler at an address or on this machine's cores."""

    shares_fate, retries = True, True  # Dask suspects all that waits at a worker that dies

    def __init__(self, task: Task, address: str | None, count: int) -> None:
        try:
            import distributed
        except ModuleNotFoundError as error:
            raise _missing("dask", "distributed") from error
        self._distributed: Any = distributed
        self._around = ExitStack()
        with ExitStack() as begun:
            if address is None:
                begun.enter_context(unrepeated_main(task))  # as long as workers may be started again
            self._client = _dask_client(distributed, address, count)
            self._around = begun.pop_all()
        cores = sum(self._client.nthreads().values()) or count
        self.parallel = 2 * cores
        self.name = f"dask at {address}, {cores} threads" if address else f"dask here, {cores} processes"
        self._task = task
        self._futures: dict[Any, int] = {}

    def submit(self, number: int, items: Sequence[Any]) -> None:
        """Hand a chunk to Dask."""
        self._futures[self._client.submit(self._task, items, pure=False, retries=0)] = number

    def finished(self) -> list[tuple[int, pa.Table | BaseException]]:
        """Wait for the next."""
        # Not by its executor: that never tells of a task which is lost after it was done, and then fails.
        try:
            done = self._distributed.wait(list(self._futures), return_when="FIRST_COMPLETED").done
        except CancelledError as error:
            raise ThermogradError(f"{self.name}: its scheduler was lost before the work was done") from error
        return [(self._futures.pop(future), self._answer(future)) for future in done]

    def _answer(self, future: Any) -> pa.Table | BaseException:
        try:
            return future.result()
        except self._distributed.KilledWorker as error:
            return WorkerDiedError(_line(error))
        except Exception as error:  # noqa: BLE001 - whatever a chunk raises is told of, the others go on
            return error

    def close(self) -> None:
        """Cancel what is under way; end the cluster that was begun here."""
        if self._futures:
            self._client.cancel(list(self._futures))
        self._futures.clear()
        cluster = self._client.cluster
        self._client.close()
        if cluster is not None:
            cluster.close()
        self._around.close()


def _dask_client(distributed: Any, address: str | None, count: int) -> Any:
    try:
        if address is not None:
            return distributed.Client(address, timeout=10)
        cluster = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any free port, not 8787
            silence_logs=logging.CRITICAL,
        )
        return distributed.Client(cluster)
    except (OSError, ValueError, RuntimeError) as error:
        if address is None:
            raise ThermogradError(f"cannot start Dask's workers on this machine: {_line(error)}") from error
        raise ThermogradError(
            f"cannot reach a Dask scheduler at {address}: {_line(error)}; "
            "--address takes what distributed.Client takes, such as tcp://host:8786"
        ) from error


def _missing(extra: str, package: str) -> MissingExtraError:
    return MissingExtraError(
        f"--engine {extra} needs {package}, which is not installed; pip install 'thermograd[{extra}]'"
    )


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
