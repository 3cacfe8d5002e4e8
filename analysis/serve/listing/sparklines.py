"""Small curves of a run: a few dozen points of its loss and gradient norm, spikes and all."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.store.errors import LogError
from thermograd.store.files import Segment
from thermograd.store.log.present.one_file import conform
from thermograd.store.log.present.snapshots import snapshot
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.segments import UNREADABLE
from thermograd.store.places.stamps import stamps
from thermograd.store.processes import rank_of_writer
from thermograd.store.runs.catalogue import Run

COLUMNS = ("loss", "grad_norm")
_BUCKETS = 30  # each with its least and its largest value
_MOST_FILES = 24  # that are read of one run, and of each its first and its middle rows
_MOST_KEPT = 2048

Curves = dict[str, list[float | None]]


class Sparklines:
    """The curves of runs, kept while their files stay as they are; of so many runs at most."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, Curves]] = OrderedDict()

    def of(self, run: Run) -> Curves:
        """Return at most 60 points of each curve, evenly over the steps of the lowest rank."""
        stamp = stamps(str(run.path)).row
        kept = self._kept.pop(run.run_id, None)
        if kept is None or kept[0] != stamp:
            kept = stamp, curves_of(run)
        self._kept[run.run_id] = kept
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return kept[1]


def curves_of(run: Run) -> Curves:
    """Return the small curves of a run, read from the ends of its row groups' columns."""
    parts = []
    with suppress(LogError):  # it cannot be read; verify tells why
        parts = list(_parts(run))
    return {name: _thinned([part[name] for part in parts if name in part.column_names]) for name in COLUMNS}


def _parts(run: Run) -> Iterator[pa.Table]:
    """Iterate over steps of the lowest rank: some of each sealed file, then what is live."""
    now = snapshot(run.path, "step")
    writers = {segment.writer for segment in now.sealed} | set(now.live)
    ranks = {writer: rank_of_writer(writer) or 0 for writer in writers}
    lowest = {writer for writer, rank in ranks.items() if rank == min(ranks.values())}
    sealed = [segment for segment in now.sealed if segment.writer in lowest]
    for segment in sealed[:: -(-len(sealed) // _MOST_FILES) or 1]:
        with suppress(*UNREADABLE):
            yield from _some_of(segment)
    for writer in sorted(lowest & set(now.live)):
        yield now.live[writer].select(COLUMNS)


def _some_of(segment: Segment) -> Iterator[pa.Table]:
    with SealedFile(segment.path, "step") as file:
        for number in range(0, file.groups, -(-file.groups // _MOST_FILES) or 1):
            yield conform(file.read(number, filled=True), "step").select(COLUMNS)


def _thinned(parts: list[Any]) -> list[float | None]:
    """Return the least and the largest value of each of some buckets, in the order in which they stand."""
    if not parts:
        return []
    values = np.concatenate([part.to_numpy() for part in parts])
    values = values[np.isfinite(values)]
    if values.size <= 2 * _BUCKETS:
        return _rounded(values)
    found: list[float] = []
    for bucket in np.array_split(values, _BUCKETS):
        places = sorted({int(bucket.argmin()), int(bucket.argmax())})
        found.extend(bucket[places])
    return _rounded(np.array(found))


def _rounded(values: Any) -> list[float | None]:
    return [float(f"{value:.5g}") for value in values]
