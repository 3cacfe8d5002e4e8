"""Where the steps of a log begin again: a `gap` mark for each place."""

import json
from collections.abc import Iterator

import pyarrow as pa
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.restarts import Restart, Restarts
from thermograd.store.events import arrow_schema

_COLUMNS = ("mark", "step", "text", "detail")


def restart_marks(steps: OrderedRows) -> pa.Table:
    """Return a mark for each restart in steps, with its ``_time_ns``."""
    rows = [
        {
            "_time_ns": time_ns,
            "mark": "gap",
            "step": restart.step,
            "text": restart.text,
            "detail": json.dumps(restart.detail),
        }
        for time_ns, restart in _restarts(steps)
    ]
    types = [arrow_schema("mark").field(name) for name in _COLUMNS]
    return pa.Table.from_pylist(rows, pa.schema([pa.field("_time_ns", pa.int64()), *types]))


def _restarts(steps: OrderedRows) -> Iterator[tuple[int, Restart]]:
    follower = Restarts()
    for part in steps.parts():
        for step, time_ns in zip(part["step"].to_pylist(), part["_time_ns"].to_pylist(), strict=True):
            restart = follower.follow(step, time_ns)
            if restart is not None:
                yield time_ns, restart
