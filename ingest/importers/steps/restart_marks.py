"""Where the steps of a log begin again: a `gap` mark for each place."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.importers.stores.told import ToldOfRun
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
    return _marks(rows)


def end_mark(told: ToldOfRun | None, ended_ns: int) -> pa.Table:
    """Return the mark of how a run ended, where its log says it; at `ended_ns`."""
    if told is None or told.state is None:
        return _marks([])
    code = {} if told.exit_code is None else {"exit_code": told.exit_code}
    text, detail = f"{told.state}, as {told.by} says", json.dumps({"state": told.state, **code})
    return _marks([{"_time_ns": ended_ns, "mark": "run_ended", "text": text, "detail": detail}])


def _marks(rows: list[dict[str, Any]]) -> pa.Table:
    types = [arrow_schema("mark").field(name) for name in _COLUMNS]
    return pa.Table.from_pylist(rows, pa.schema([pa.field("_time_ns", pa.int64()), *types]))


def _restarts(steps: OrderedRows) -> Iterator[tuple[int, Restart]]:
    follower = Restarts()
    for part in steps.parts():
        if "rank" in part.column_names:  # all ranks begin again together: the first tells it
            part = part.filter(pc.fill_null(pc.equal(part["rank"], 0), True))
        for step, time_ns in zip(part["step"].to_pylist(), part["_time_ns"].to_pylist(), strict=True):
            restart = follower.follow(step, time_ns)
            if restart is not None:
                yield time_ns, restart
