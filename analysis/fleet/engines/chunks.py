"""Runs in chunks, and the tables of all chunks as one."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from thermograd.analysis.fleet.engines.choice import cores
from thermograd.analysis.fleet.engines.mapping import Failed, Workers, mapped
from thermograd.store.runs.catalogue import Run

_MOST = 100


def chunks_of(runs: Sequence[Run]) -> list[list[str]]:
    """Return the paths of runs in chunks: several a core, so that none waits long for another."""
    size = int(np.clip(len(runs) // (8 * cores()), 1, _MOST))
    paths = [str(run.path.resolve()) for run in runs]
    return [paths[first : first + size] for first in range(0, len(paths), size)]


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
