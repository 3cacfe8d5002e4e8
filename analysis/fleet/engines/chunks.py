"""Runs in chunks, and the tables of all chunks as one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from thermograd.analysis.fleet.engines.choice import cores
from thermograd.analysis.fleet.engines.mapping import Failed, Workers, mapped
from thermograd.store.places.cache import mirror_root, url_of
from thermograd.store.places.place import is_url
from thermograd.store.runs.catalogue import Run, fetched_runs

_MOST = 100


def chunks_of(runs: Sequence[Run]) -> list[list[str]]:
    """Return the addresses of runs in chunks: several a core, so that none waits long for another."""
    size = int(np.clip(len(runs) // (8 * cores()), 1, _MOST))
    addresses = [_address_of(run) for run in runs]
    return [addresses[first : first + size] for first in range(0, len(addresses), size)]


def _address_of(run: Run) -> str:
    """Return where a run is, for a worker that may be another machine: a path, or the run's URL."""
    url = url_of(run.path.parent)
    return str(run.path.resolve()) if url is None else f"{url.rstrip('/')}/{run.run_id}"


def opened(addresses: Sequence[str]) -> list[Run]:
    """Return the runs of a chunk, in its order; those of a URL are fetched into this machine's mirror.

    One that is gone from its URL is there without its events.
    """
    paths = [_path_of(address) for address in addresses]
    fetched_runs(Run(path) for path, address in zip(paths, addresses, strict=True) if is_url(address))
    return [Run(path) for path in paths]


def _path_of(address: str) -> Path:
    base, _, run_id = address.rpartition("/")
    return mirror_root(base) / run_id if is_url(address) else Path(address)


def gathered(
    chunks: Sequence[Sequence[str]],
    workers: Workers,
    failed: Failed,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Return the rows of all chunks in their order; `progress` is told how many items are done."""
    tables: dict[int, pa.Table] = {}
    done, of = 0, sum(map(len, chunks))
    for number, table in mapped(chunks, workers, failed):
        tables[number] = table
        done += len(chunks[number])
        if progress is not None:
            progress(done, of)
    return pa.concat_tables([tables[number] for number in sorted(tables)])
