"""The view `aligned` before its tolerance: every step with the nearest sample of every device of its run."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray
from thermograd.store.align.matching import Ints, Times, nearest
from thermograd.store.events import column_names
from thermograd.store.query.data.computed import Computed, Wanted
from thermograd.store.query.data.sources import Events

_BATCH_ROWS = 1 << 16  # of steps, each with its sample of one device
_ANY_DISTANCE = 2**64 - 1
_STEP = ("run_id", "writer", *column_names("step"))
SAMPLE = {  # columns of the view, and of the samples
    f"sample_{name}" if name in _STEP else name: name for name in column_names("sample") if name != "device"
}
_DISTANCE = {"distance_ns": pa.uint64(), "dt_s": pa.float64()}


def aligned_view(steps: Events, samples: Events, run_ids: list[str]) -> Computed:
    """Return a row for every step and device of its run, by the rule of `store.align.matching.nearest`.

    There is no tolerance: ``distance_ns`` says how far in time the sample is, ``dt_s`` with its sign.
    """
    schema = pa.schema(
        [
            *steps.schema,
            samples.schema.field("device"),
            *(pa.field(name, samples.schema.field(of).type) for name, of in SAMPLE.items()),
            *_DISTANCE.items(),
        ]
    )
    return Computed(schema, run_ids, partial(_rows, steps, samples))


def _rows(steps: Events, samples: Events, wanted: Wanted, run_id: str) -> Iterator[pa.Table]:
    names = [name for name in wanted.columns if name in SAMPLE]
    matched = bool(names) or not _DISTANCE.keys().isdisjoint(wanted.columns)
    recorded = _Samples(samples.of(run_id), [SAMPLE[name] for name in names], matched)
    series = [one for one in recorded.series() if wanted.may_hold(run_id=run_id, device=one.device)]
    of_steps = [name for name in wanted.columns if name in _STEP and name != "run_id"]
    for batch in steps.of(run_id).to_batches(columns=list({*of_steps, "time_ns"}), batch_size=_BATCH_ROWS):
        for one in series if len(batch) else ():
            parts = dict(zip(batch.schema.names, batch.columns, strict=True))
            parts |= {"run_id": _repeated(run_id, batch), "device": _repeated(one.device, batch)}
            if matched:
                parts |= _match(batch.column("time_ns"), one, recorded, names)
            yield pa.table({name: parts[name] for name in wanted.columns})


def _repeated(value: str, batch: pa.RecordBatch) -> pa.Array:
    return pa.repeat(pa.scalar(value), len(batch))


class _Series(NamedTuple):
    """One device's samples in time order; of equal times the one logged last is at the end."""

    device: str
    time_ns: Times
    row: Ints  # where each stands in the columns of the run's samples


class _Samples:
    """A run's samples in the order in which they are read; texts as places in a list of what there is."""

    def __init__(self, events: ds.Dataset, columns: list[str], timed: bool) -> None:
        texts = ["device", "writer"] if timed else ["device"]
        numbers = [*dict.fromkeys(["time_ns", "seq", *columns])] if timed else []
        self._texts: dict[str, dict[str | None, int]] = {name: {} for name in texts}
        types = dict.fromkeys(texts, pa.int32()) | {name: events.schema.field(name).type for name in numbers}
        parts: dict[str, list[pa.Array]] = {name: [] for name in types}
        for batch in events.to_batches(columns=list(types)):
            for name, arrays in parts.items():
                column = batch.column(name)
                arrays.append(self._places(name, column) if name in self._texts else column)
        self.columns = {
            name: pa.chunked_array(parts.pop(name), kind).combine_chunks() for name, kind in types.items()
        }

    def _places(self, name: str, column: pa.Array) -> pa.Array:
        known, encoded = self._texts[name], column.dictionary_encode("encode")
        place = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
        return pa.array(np.array(place, np.int32)[encoded.indices.to_numpy()])

    def series(self) -> Iterator[_Series]:
        """Yield what there is of each device, by name; a sample of no device is left out."""
        device = self._numbers("device")
        by_device = np.argsort(device, kind="stable")
        ordered = device[by_device]
        for name in sorted(name for name in self._texts["device"] if name is not None):
            place = self._texts["device"][name]
            first, end = (ordered.searchsorted(place, side=side) for side in ("left", "right"))
            yield self._in_time_order(name, by_device[first:end])

    def _in_time_order(self, device: str, row: Ints) -> _Series:
        if "time_ns" not in self.columns:
            return _Series(device, row[:0], row[:0])
        times = self._numbers("time_ns")[row]
        if not (times[1:] > times[:-1]).all():
            rank = np.argsort(np.argsort(np.array(list(self._texts["writer"]), object)))
            order = np.lexsort((rank[self._numbers("writer")[row]], self._numbers("seq")[row], times))
            row, times = row[order], times[order]
        return _Series(device, times, row)

    def _numbers(self, name: str) -> NDArray[Any]:
        numbers: NDArray[Any] = self.columns[name].to_numpy()
        return numbers


def _match(step_time_ns: pa.Array, one: _Series, recorded: _Samples, names: list[str]) -> dict[str, pa.Array]:
    """Return, for each step, the wanted columns of its nearest sample, and how far away it is."""
    steps = step_time_ns.to_numpy()
    place = _nearest(steps, one.time_ns)
    found = one.time_ns[place]
    later = found >= steps
    distance = np.where(later, found - steps, steps - found).view(np.uint64)
    row = pa.array(one.row[place])
    return {name: recorded.columns[SAMPLE[name]].take(row) for name in names} | {
        "distance_ns": pa.array(distance),
        "dt_s": pa.array(np.where(later, 1.0, -1.0) * distance / 1e9),
    }


def _nearest(steps: Times, samples: Times) -> Ints:
    """Return what `nearest` does, looking only at the samples around the steps: a run has many batches."""
    first = max(int(samples.searchsorted(steps.min())) - 1, 0)
    end = int(samples.searchsorted(steps.max(), side="right"))
    if end < samples.size:
        end = int(samples.searchsorted(samples[end], side="right"))
    return nearest(steps, samples[first:end], _ANY_DISTANCE) + first
