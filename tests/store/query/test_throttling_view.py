"""The view `throttling`: a row for each run, device and cause; what a device does not tell is null."""

from pathlib import Path

import pytest
from synthetic import START_NS
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import create_run

_S = 10**9


def _write(runs: Path) -> None:
    for name, throttled in (("cool", 0), ("hot", 1)):
        run = create_run(runs, name)
        with_events = EventWriter(run.path, run.run_id, "writer")
        for second in range(11):
            hot = throttled * max(0, min(second - 4, 3))
            for device, known in (("a", True), ("b", False)):
                readings = {"throttled_thermal_ns": hot * _S, "clock_event_mask": 4} if known else {}
                with_events.append(
                    "sample", START_NS + second * _S, device=device, temperature_c=60.0 + second, **readings
                )
        with_events.close()


def test_every_device_has_a_row_of_each_cause(tmp_path: Path) -> None:
    _write(tmp_path)
    rows = query(
        "SELECT r.name, device, cause, t.source, observed_s, throttled_s, share, episodes, longest_s, "
        "max_temperature_c FROM throttling t JOIN runs r USING (run_id) ORDER BY ALL",
        tmp_path,
    ).to_pylist()
    assert len(rows) == 2 * 2 * 5
    found = {(row["name"], row["device"], row["cause"]): list(row.values())[3:] for row in rows}
    assert found["hot", "a", "thermal"] == ["counter", 10.0, 3.0, pytest.approx(0.3), 1, 3.0, 67.0]
    assert found["hot", "a", "power"] == ["sampled", 10.0, 10.0, 1.0, 1, 10.0, 70.0]
    assert found["hot", "a", "brake"] == ["sampled", 10.0, 0.0, 0.0, 0, 0.0, None]
    assert found["cool", "a", "thermal or brake"][1:5] == [10.0, 0.0, 0.0, 0]
    assert all(value is None for key, row in found.items() if key[1] == "b" for value in row)


def test_without_a_run_the_view_is_empty(tmp_path: Path) -> None:
    assert query("SELECT * FROM throttling", tmp_path).num_rows == 0
