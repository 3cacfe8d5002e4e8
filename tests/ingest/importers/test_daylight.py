"""Summer time: file order tells the hour that clocks showed twice; what it does not tell is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from importing import STEP, device_rows, imported, refused, write, written
from thermograd.ingest.importers.recording import Hints

_ENDS = {  # of summer time: when clocks are set back, in UTC
    "Europe/Vienna": datetime(2025, 10, 26, 1, tzinfo=UTC),
    "America/New_York": datetime(2025, 11, 2, 6, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2025, 4, 5, 15, tzinfo=UTC),  # by half an hour
}


def _clock(zone: str, moments: list[datetime]) -> list[str]:
    return [moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M:%S") for moment in moments]


def _around(zone: str, begin_min: float, end_min: float, every_s: float) -> list[datetime]:
    """Return moments from and to so many minutes after the clock was set back."""
    count = int((end_min - begin_min) * 60 / every_s) + 1
    return [_ENDS[zone] + timedelta(minutes=begin_min, seconds=every_s * place) for place in range(count)]


def _smi(times: list[str], gpus: int = 1) -> str:
    rows = [
        f"{time.replace('-', '/').replace('T', ' ')}.{gpu:03}, {gpu}, 50"
        for time in times
        for gpu in range(gpus)
    ]
    return "timestamp, index, temperature.gpu\n" + "\n".join(rows) + "\n"


def _ns(moments: list[datetime]) -> list[int]:
    return [int(moment.timestamp()) * 10**9 for moment in moments]


@pytest.mark.parametrize("zone", _ENDS)
@pytest.mark.parametrize("every_s", [10, 60, 600])
@pytest.mark.parametrize(
    ("begin_min", "end_min"),
    [(-90, 150), (-90, 25), (-20, 150), (-10, 12), (-120, -10), (20, 150)],
    ids=["both passes", "ends in the second", "begins in the first", "within", "first alone", "second alone"],
)
def test_the_hour_that_came_twice_is_told_apart_by_the_order_of_rows(
    tmp_path: Path, zone: str, every_s: int, begin_min: int, end_min: int
) -> None:
    if every_s == 600 and zone.endswith("Howe"):
        pytest.skip("at ten minutes, half an hour back is less than half of what was shown twice")
    moments = _around(zone, begin_min, end_min, every_s)
    path = written(tmp_path / "a.csv", _smi(_clock(zone, moments)))
    found = imported(tmp_path, path, timezone=zone)
    assert [row["time_ns"] for row in found.rows("sample")] == _ns(moments)
    assert found.run.facts["import"]["out_of_order"] > 0 or begin_min > 0 or end_min < 0


def test_the_rows_of_several_gpus_and_of_a_step_log_are_told_apart_too(tmp_path: Path) -> None:
    moments = _around("Europe/Vienna", -90, 90, 60)
    times = _clock("Europe/Vienna", moments)
    smi = imported(tmp_path, written(tmp_path / "a.csv", _smi(times, gpus=3)), timezone="Europe/Vienna")
    assert [row["time_ns"] // 10**9 * 10**9 for row in smi.rows("sample")[::3]] == _ns(moments)
    rle = device_rows(
        *(f"{time},{device},0.1,50,2{device[-1]},30,0" for device in ("gpu0", "gpu1") for time in times)
    )
    found = imported(tmp_path, written(tmp_path / "b.csv", rle), timezone="Europe/Vienna")
    assert [row["time_ns"] for row in found.rows("sample")[::2]] == _ns(moments)
    entries = [STEP | {"step": number, "timestamp_iso": time} for number, time in enumerate(times, start=1)]
    steps = imported(tmp_path, write(tmp_path / "a.json", entries), timezone="Europe/Vienna").rows("step")
    assert [row["time_ns"] for row in steps] == _ns(moments)


@pytest.mark.parametrize("zone", ["UTC", "+02:00", "+01:00", "America/New_York"])
def test_one_offset_for_a_clock_that_was_set_back_is_refused_not_interleaved(
    tmp_path: Path, zone: str
) -> None:
    times = _clock("Europe/Vienna", _around("Europe/Vienna", -90, 90, 60))
    message = refused(tmp_path, written(tmp_path / "a.csv", _smi(times)), timezone=zone)
    assert "line 92: the time goes back by 59 min, as a clock's does at the end of summer time" in message
    assert "give --timezone as the name of the clock's zone, e.g. Europe/Vienna" in message


def test_estimated_times_go_on_through_the_end_of_summer_time(tmp_path: Path) -> None:
    """They are so and so long after a start that a clock showed; no clock showed them."""
    log = [{"step": step, "loss": 1.0} for step in range(1, 300)]
    hints = Hints("2025-10-26T01:00:00", 60.0)
    path = written(tmp_path / "trainer_state.json", json.dumps({"log_history": log}))
    rows = imported(tmp_path, path, hints=hints, timezone="Europe/Vienna").rows("step")
    begin = int(datetime(2025, 10, 25, 23, 1, tzinfo=UTC).timestamp()) * 10**9
    assert [row["time_ns"] for row in rows] == [begin + 60 * 10**9 * place for place in range(299)]


def test_one_offset_is_not_inferred_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    moments = _around("Europe/Vienna", -90, 90, 60)
    log = written(tmp_path / "a.csv", _smi(_clock("Europe/Vienna", moments)))
    entries = [STEP | {"step": n, "timestamp": m.timestamp()} for n, m in enumerate(moments[:150], start=1)]
    assert "give --timezone" in refused(tmp_path, log, write(tmp_path / "a.json", entries))


def test_an_hour_that_is_shown_once_is_refused_with_advice_that_mixes_nothing(tmp_path: Path) -> None:
    """A clock in winter time all the year, say: in Vienna's zone half of its rows would be an hour off."""
    moments = _around("Europe/Vienna", -90, 90, 60)
    times = [(moment + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S") for moment in moments]
    path = written(tmp_path / "a.csv", _smi(times))
    message = refused(tmp_path, path, timezone="Europe/Vienna")
    assert (
        "the order of the rows does not show both: if its clock has no summer time, give its offset"
        in message
    )
    assert [row["time_ns"] for row in imported(tmp_path, path, timezone="+01:00").rows("sample")] == _ns(
        moments
    )


def test_a_log_sorted_by_its_local_times_is_refused(tmp_path: Path) -> None:
    times = sorted(_clock("Europe/Vienna", _around("Europe/Vienna", -90, 90, 60)))
    message = refused(tmp_path, written(tmp_path / "a.csv", _smi(times)), timezone="Europe/Vienna")
    assert "import those before the change with --timezone +02:00, and those after it with +01:00" in message


@pytest.mark.parametrize(("offset", "hour"), [("+02:00", 0), ("+01:00", 1)])
def test_a_log_within_the_hour_is_refused_and_both_offsets_are_named(
    tmp_path: Path, offset: str, hour: int
) -> None:
    path = written(tmp_path / "a.csv", _smi(["2025-10-26T02:30:00", "2025-10-26T02:31:00"]))
    message = refused(tmp_path, path, timezone="Europe/Vienna")
    assert "line 2: local time 2025-10-26T02:30:00 happened twice in Europe/Vienna" in message
    assert "give --timezone +02:00 for the first, +01:00 for the second" in message
    (first, _) = imported(tmp_path, path, timezone=offset).rows("sample")
    assert first["time_ns"] == int(datetime(2025, 10, 26, hour, 30, tzinfo=UTC).timestamp()) * 10**9


def test_a_time_that_never_was_is_refused_and_the_hour_that_is_left_out_is_not(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", _smi(["2025-03-30T01:59:00", "2025-03-30T02:30:00"]))
    message = refused(tmp_path, path, timezone="Europe/Vienna")
    assert "line 3: local time 2025-03-30T02:30:00 never happened in Europe/Vienna" in message
    assert "if it has no summer time, as its offset, e.g. +01:00" in message
    path = written(tmp_path / "b.csv", _smi(["2025-03-30T01:59:30", "2025-03-30T03:00:30"]))
    first, second = imported(tmp_path, path, timezone="Europe/Vienna").rows("sample")
    assert second["time_ns"] - first["time_ns"] == 60 * 10**9


def test_files_in_the_wrong_order_and_late_rows_are_sorted_not_refused(tmp_path: Path) -> None:
    late = ["2025-07-01T12:40:00", "2025-07-01T12:41:00", "2025-07-01T12:00:00", "2025-07-01T12:42:00"]
    parts = [f"2025-07-01T13:{minute:02}:00" for minute in range(20)]
    parts += [f"2025-07-01T12:{minute:02}:00" for minute in range(45, 60)]
    for times in (late, parts):
        found = imported(tmp_path, written(tmp_path / "a.csv", _smi(times)), timezone="Europe/Vienna")
        assert len(found.rows("sample")) == len(times)
        assert found.run.facts["import"]["out_of_order"] > 0
