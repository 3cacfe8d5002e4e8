"""The views that are worked out of each device's samples: `efficiency` and `throttling`."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.dataset as ds
from thermograd.store.efficiency.columns import INPUT, SCHEMA as EFFICIENCY, efficiency_of
from thermograd.store.query.data.computed import Computed, Wanted
from thermograd.store.query.data.sources import Events
from thermograd.store.runs.catalogue import Run
from thermograd.store.throttling.summary import COLUMNS, SCHEMA as THROTTLING, throttling_of

_GIVEN = EFFICIENCY.names[1:5]  # of a sample, beside its run and what is derived from it


def efficiency_view(samples: Events, runs: Iterable[Run]) -> Computed:
    """Return the efficiency of every sample."""
    devices = {run.run_id: run.facts.get("devices", {}) for run in runs}
    columns = list(dict.fromkeys([*_GIVEN, *INPUT]))

    def compute(wanted: Wanted, run_id: str) -> Iterator[pa.Table]:
        for device, part in _by_device(samples, wanted, run_id, columns):
            first = 0
            for derived in efficiency_of(devices[run_id].get(device, {}), part):
                given = part.select(_GIVEN).slice(first, len(derived))
                run = pa.repeat(pa.scalar(run_id), len(derived))
                yield pa.Table.from_arrays([run, *given.columns, *derived.columns], schema=EFFICIENCY)
                first += len(derived)

    return Computed(EFFICIENCY, devices, compute)


def throttling_view(samples: Events, runs: Iterable[Run]) -> Computed:
    """Return for how long each device was throttled by each cause."""

    def compute(wanted: Wanted, run_id: str) -> Iterator[pa.Table]:
        for device, part in _by_device(samples, wanted, run_id, ["device", "seq", *COLUMNS]):
            rows = [{"run_id": run_id, "device": device} | row for row in throttling_of(part)]
            yield pa.Table.from_pylist(rows, THROTTLING)

    return Computed(THROTTLING, [run.run_id for run in runs], compute)


def _by_device(
    samples: Events, wanted: Wanted, run_id: str, columns: list[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the samples, in time order, of each device of a run that is asked for."""
    table = samples.of(run_id).to_table(columns=columns)
    for device in sorted(filter(None, table.column("device").unique().to_pylist())):
        if wanted.may_hold(run_id=run_id, device=device):
            part = table.filter(ds.field("device") == device)
            yield device, part.sort_by([("time_ns", "ascending"), ("seq", "ascending")])
