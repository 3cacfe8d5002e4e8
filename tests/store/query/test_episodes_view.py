"""The view ``episodes``: the same episodes as everywhere, of each run by itself."""

import contextlib
import json

import pyarrow as pa
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import create_run

SECOND = 10**9
HEAT = {"alert": "collapse.thermal", "severity": "critical", "device": "gpu", "metric": "sm_clock_mhz"}


def hot_run(runs, name, count, closed=True):
    run = create_run(runs, name)
    with contextlib.closing(EventWriter(run.path, run.run_id, "agent")) as writer:
        for i in range(count):
            onset_ns = 60 * i * SECOND
            message, score = f"number {i}", float(i % 3)
            writer.append(
                "alert", onset_ns + SECOND, 0, onset_time_ns=onset_ns, message=message, score=score, **HEAT
            )
            told = {"alert": HEAT["alert"], "device": "gpu", "onset_time_ns": onset_ns}
            detail = json.dumps(told | {"end_time_ns": onset_ns + 30 * SECOND})
            if closed:
                writer.append("mark", onset_ns + 60 * SECOND, 0, mark="alert_ended", detail=detail)
    return run


def test_each_run_has_its_own_episodes_with_the_worst_and_the_share_of_time(tmp_path):
    first, second = hot_run(tmp_path, "a", 10), hot_run(tmp_path, "b", 2, closed=False)
    columns = "run_id, device, alerts, span_s, round(share_of_time, 3) AS share, worst"
    rows = query(f"SELECT {columns} FROM episodes ORDER BY alerts DESC", tmp_path).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (first.run_id, "gpu", 10, 570.0, 0.526, "number 2"),
        (second.run_id, "gpu", 2, 61.0, None, "number 1"),
    ]


def test_without_alerts_the_view_is_there_and_empty(tmp_path):
    create_run(tmp_path, "quiet")
    assert query("SELECT * FROM episodes", tmp_path).num_rows == 0
    assert pa.types.is_timestamp(query("SELECT first FROM episodes", []).schema.field("first").type)
