"""The view ``episodes``: alerts that repeat as one row, as `show` and the report tell them."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from thermograd.store.query.data.computed import Computed, Wanted
from thermograd.store.query.data.sources import Events
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.episodes import ENDED_MARK, Episode, ends_of, fold_alerts

_TIME = pa.timestamp("ns")
_SCHEMA = pa.schema(
    {
        **{"run_id": pa.string(), "alert": pa.string(), "severity": pa.string(), "metric": pa.string()},
        **{"device": pa.string(), "alerts": pa.int64(), "first": _TIME, "last": _TIME, "until": _TIME},
        **{"span_s": pa.float64(), "active_s": pa.float64(), "share_of_time": pa.float64()},
        **{"worst_time": _TIME, "worst_step": pa.int64(), "worst_value": pa.float64(), "worst": pa.string()},
    }
)
_READ = (
    *("time_ns", "onset_time_ns", "alert", "severity", "step", "device", "metric", "value", "score"),
    "message",
)


def episodes_view(alerts: Events, marks: Events, runs: Iterable[Run]) -> Computed:
    """Return the episodes of each run's alerts."""
    is_end = ds.field("mark") == ENDED_MARK

    def compute(wanted: Wanted, run_id: str) -> Iterator[pa.Table]:
        told = alerts.of(run_id).to_table(columns=list(_READ)).to_pylist()
        ended = marks.of(run_id).to_table(columns=["mark", "detail"], filter=is_end).to_pylist()
        rows = [_row(run_id, episode) for episode in fold_alerts(told, ends_of(ended))]
        yield pa.Table.from_pylist(rows, _SCHEMA).select(wanted.columns)

    return Computed(_SCHEMA, [run.run_id for run in runs], compute)


def _row(run_id: str, episode: Episode) -> dict[str, Any]:
    worst = episode.worst
    return {
        "run_id": run_id,
        "alert": episode.alert,
        "severity": episode.severity,
        "metric": episode.metric,
        "device": next(iter(episode.devices), None),
        "alerts": episode.count,
        "first": episode.first_ns,
        "last": episode.last_ns,
        "until": episode.end_ns,
        "span_s": episode.span_s,
        "active_s": episode.active_s,
        "share_of_time": episode.share,
        "worst_time": worst["time_ns"],
        **{f"worst_{name}": worst[name] for name in ("step", "value")},
        "worst": worst["message"],
    }
