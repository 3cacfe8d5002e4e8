"""Times that name no zone: read in the one that is right, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from importing import STEP, Importer, device_rows, rows_of, write
from thermograd.ingest.importers.timezones import (
    Moment,
    Span,
    infer_zone,
    named_zone,
    read_epoch,
    read_time,
    shown_offset,
)
from thermograd.store.errors import ImportFormatError


@pytest.mark.parametrize(
    ("zone", "time_ns"),
    [
        ("UTC", 1751371200 * 10**9),
        ("Europe/Vienna", 1751364000 * 10**9),
        ("-05:00", 1751389200 * 10**9),
    ],
)
def test_a_named_zone_is_used_for_times_that_name_none(
    do_import: Importer, tmp_path: Path, zone: str, time_ns: int
) -> None:
    path = write(tmp_path / "a.csv", device_rows("2025-07-01T12:00:00,gpu,0.1,50,20,30,0"))
    result, run = do_import(path, timezone=zone)
    assert rows_of(run, "sample")[0]["time_ns"] == time_ns
    assert "as --timezone says" in result["timezone"]


def test_a_zone_that_is_not_needed_changes_nothing(do_import: Importer, data: Path) -> None:
    result, run = do_import(data / "torn_monitor.csv", timezone="Asia/Tokyo")
    assert rows_of(run, "sample")[0]["time_ns"] == 1740830401_500_000_000
    assert "--timezone was not needed" in result["timezone"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "Europe", "+25:00"])
def test_an_unknown_zone_is_refused(refusal: Callable[..., str], data: Path, zone: str) -> None:
    message = refusal(data / "pair", timezone=zone)
    assert message.startswith(f"timezone {zone!r} is not known; give a name such as UTC or Europe/Vienna")


def test_a_zone_that_contradicts_the_epoch_times_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair", timezone="America/Chicago")
    assert "do not overlap in time" in message
    assert "2025-03-01T18:00:00 to 2025-03-01T18:01:09 UTC" in message


def test_naive_telemetry_alone_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair/device_log.csv")
    assert "device_log.csv, row 2: the times of this device log (timestamp) name no zone" in message
    assert "give --timezone" in message


def test_a_naive_step_log_is_refused_without_a_zone(refusal: Callable[..., str], tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [STEP | {"timestamp_iso": "2025-07-01T12:00:00"}])
    assert "the times of this step log (timestamp_iso) name no zone" in refusal(path)


def test_telemetry_that_fits_in_two_zones_is_refused(
    refusal: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    """A device log of 8 h overlaps the steps in UTC and in the local zone: it would be a guess."""
    rows = [f"2025-03-01T{hour:02}:00:00,gpu,0.1,50,20,30,0" for hour in range(6, 15)]
    path = write(tmp_path / "long.csv", device_rows(*rows))
    assert "UTC-05:00 and UTC" in refusal(path, data / "pair/step_log.json")


def test_without_local_times_every_civil_offset_is_tried() -> None:
    steps = Span(1_700_000_100 * 10**9, 1_700_000_160 * 10**9)
    local = Span((1_700_000_000 + 20_700) * 10**9, (1_700_000_300 + 20_700) * 10**9)
    zone, how = infer_zone(local, steps, (), "timestamp")
    assert zone.label == "UTC+05:45"
    assert "covers the step log's epoch times (timestamp)" in how
    long = Span(local.first, local.last + 7200 * 10**9)
    with pytest.raises(ImportFormatError, match="give --timezone"):
        infer_zone(long, steps, (), "timestamp")


def test_epoch_seconds_are_read_as_the_decimals_that_the_file_shows() -> None:
    moment = read_epoch(1761699262.4882805)
    assert moment == Moment(1761699262_488_280_500, naive=False)
    assert moment.ns / 10**9 == 1761699262.4882805
    for bad in (float("nan"), float("inf"), 0, -5.0, 1.7e12):
        assert read_epoch(bad) is None


@pytest.mark.parametrize(
    ("text", "ns", "naive"),
    [
        ("1970-01-01T00:00:01Z", 10**9, False),
        ("1970-01-01 00:00:01.5", 1_500_000_000, True),
        ("1970-01-01T02:00:00.123456789+02:00", 123_456_789, False),
        ("1970-01-01T00:00:00-0530", 19_800 * 10**9, False),
        (" 1.25 ", 1_250_000_000, False),
    ],
)
def test_times_keep_nine_digits_and_their_own_offset(text: str, ns: int, naive: bool) -> None:
    assert read_time(text) == Moment(ns, naive)


@pytest.mark.parametrize(
    "text", ["", "now", "2025-13-01T00:00:00", "2025-01-01", "2025-01-01T00:00:00+99:00", "1_0", "12:00:00"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text) is None


def test_the_offset_that_two_clocks_show_is_rounded_to_a_quarter_hour() -> None:
    assert shown_offset(19_800 * 10**9 + 1000, 0) == 19_800
    assert shown_offset(400 * 10**9, 0) is None
    assert shown_offset(20 * 3600 * 10**9, 0) is None
    assert named_zone("UTC+02:00").label == "UTC+02:00"
