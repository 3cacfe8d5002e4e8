"""What a person says of a log: read, refused where it is none, and where nothing can use it."""

from pathlib import Path

import pytest
from importing import exposition, imported, refused, written
from thermograd.ingest.importers.hints.named import hints_of
from thermograd.ingest.importers.hints.units import COLUMNS, UNITS, unit_at_end, unit_named, units_said
from thermograd.ingest.importers.recording import Hints
from thermograd.store.errors import ImportFormatError

STEPS = '[{"step": 1, "loss": 2.0, "took": 250, "timestamp": 1700000000}]'


@pytest.mark.parametrize(
    ("column", "unit", "number", "ours"),
    [
        ("power_w", "mW", 52300, 52.3),
        ("power_w", "kw", 0.7, 700),
        ("energy_j", "kWh", 2, 7_200_000),
        ("energy_j", "mWh", 1, 3.6),
        ("temperature_c", "°F", 212, 100),
        ("temperature_c", "K", 300, 300 - 273.15),
        ("slowdown_margin_c", "degF", 9, 5),
        ("sm_clock_mhz", "KHz", 1_980_000, 1980),
        ("memory_used_bytes", "MB", 1.5, 1_500_000),
        ("memory_used_bytes", "MiB", 1, 1_048_576),
        ("utilization_pct", "fraction", 0.5, 50),
        ("throttled_thermal_ns", "µs", 3, 3000),
        ("step_time_s", "ms", 230.1, 0.2301),
        ("tokens", "K", 4, 4000),
        ("energy_j", "MJ", 5.8, 5_800_000),
        ("energy_j", "mj", 5800, 5.8),
        ("power_w", "MW", 0.5, 500_000),
        ("power_w", "milliwatts", 52300, 52.3),
        ("sm_clock_mhz", "mhz", 1980, 1980),
        ("memory_used_bytes", "mib", 1, 1_048_576),
    ],
)
def test_a_unit_becomes_ours_exactly(column: str, unit: str, number: float, ours: float) -> None:
    found = unit_named(column, unit)
    assert found is not None
    assert found.ours(number) == ours


@pytest.mark.parametrize(
    ("column", "unit"), [("sm_clock_mhz", "mHz"), ("memory_used_bytes", "Mb"), ("step_time_s", "Ms")]
)
def test_a_unit_that_is_another_as_it_is_written_is_none(column: str, unit: str) -> None:
    assert unit_named(column, unit) is None


@pytest.mark.parametrize(
    ("column", "tag", "unit"),
    [
        ("power_w", "power_mW", "mW"),
        ("power_w", "x in kW", "kW"),
        ("power_w", "powerMilliWatts", "mW"),
        ("temperature_c", "temp_f", "F"),
        ("memory_used_bytes", "mem_mib", "MiB"),
        ("energy_j", "total energy MJ", "MJ"),
        ("energy_j", "energy_watt_hours", "Wh"),
        ("sm_clock_mhz", "clk_mhz", "MHz"),
        ("power_w", "power.draw", None),
        ("power_w", "rail_c", None),
        ("temperature_c", "temp_min", None),
    ],
)
def test_a_unit_at_the_end_of_a_name_counts(column: str, tag: str, unit: str | None) -> None:
    assert unit_at_end(column, tag) == unit


@pytest.mark.parametrize(
    ("column", "tag"),
    [
        ("power_w", "power_pct"),
        ("power_w", "energy_kwh"),
        ("step_time_s", "time_min"),
        ("power_w", "P [W/GPU]"),
    ],
)
def test_a_name_with_a_doubtful_unit_asks_for_it(column: str, tag: str) -> None:
    with pytest.raises(ImportFormatError, match=f"--unit {column}=UNIT"):
        units_said("step" if column in COLUMNS["step"] else "sample", Hints(columns=((column, tag),)))


def test_the_first_unit_of_every_column_is_ours() -> None:
    assert {column for column in UNITS if column != "time"} <= {*COLUMNS["step"], *COLUMNS["sample"]}
    for column, units in UNITS.items():
        assert next(iter(units.values())).ours(1.25) == 1.25, column


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"units": ["power_w=hp"]}, "--unit 'power_w=hp': allowed for power_w is one of W, mW, uW, kW"),
        ({"units": ["loss=1"]}, "--unit 'loss=1' is no NAME=UNIT; allowed is each of power_w"),
        ({"units": ["power_w"]}, "--unit 'power_w': allowed for power_w is one of W"),
        ({"units": ["power_w=W", "power_w=mW"]}, "is no NAME=UNIT; allowed is each of"),
        ({"columns": ["power=x"]}, "--column 'power=x' is no NAME=TAG; allowed is each of step, epoch"),
        ({"fields": "timestamp"}, "--columns 'timestamp' is no list of names"),
        ({"fields": "timestamp,,power.draw"}, "--columns 'timestamp,,power.draw' is no list of names"),
    ],
)
def test_a_hint_that_is_none_is_refused(given: dict[str, list[str] | str], sentence: str) -> None:
    with pytest.raises(ImportFormatError) as caught:
        hints_of(**given)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("hints", "sentence"),
    [
        (
            Hints(device="gpu0"),
            "--device is for a device log whose rows name no device, but a.json is a ",
        ),
        (
            Hints(fields=("a", "b")),
            "--columns is for a log without a header, but a.json is a step log (JSON)",
        ),
        (
            Hints(pattern=r"x(?P<step>\d) (?P<loss>.)"),
            "--pattern is for a text log of steps, but a.json is a step log (JSON)",
        ),
        (Hints(run="x"), "--run is for a store that holds several runs, but a.json is a step log (JSON)"),
        (Hints(columns=(("power_w", "x"),)), "--column power_w=x is for a device log, but there is none"),
        (Hints(units=(("power_w", "mW"),)), "--unit power_w=mW is for a device log, but there is none"),
        (
            Hints(started_at="now"),
            "--started-at is for a step log without times, but a.json has times of",
        ),
        (Hints(sample_time_s=1.0), "--sample-time is for a device log without times, but there is no device"),
    ],
)
def test_a_hint_that_no_log_can_use_is_refused(tmp_path: Path, hints: Hints, sentence: str) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "a.json", STEPS), hints=hints)


def test_the_unit_that_a_person_names_stands_above_the_formats_own(tmp_path: Path) -> None:
    path = written(tmp_path / "dcgm.prom", exposition(1700000000000, 1700000001000))
    rows = imported(tmp_path, path, hints=Hints(units=(("memory_used_bytes", "MB"),))).rows("sample")
    assert [row["memory_used_bytes"] for row in rows] == [1.024e9, 1.024e9]
    assert [row["energy_j"] for row in rows] == [1000.0, 1250.125]


def test_any_column_of_a_step_is_named_with_its_unit(tmp_path: Path) -> None:
    hints = Hints(columns=(("step_time_s", "took"),), units=(("step_time_s", "ms"),))
    (row,) = imported(tmp_path, written(tmp_path / "a.json", STEPS), hints=hints).rows("step")
    assert (row["step_time_s"], row["loss"]) == (0.25, 2.0)
