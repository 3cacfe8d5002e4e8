"""Columns of sensors that a person names, their units, and the device of rows that name none."""

from pathlib import Path
from typing import Any

import pytest
from importing import Imported, exposition, imported, refused, written
from thermograd.ingest.importers.hints.named import hints_of

SMI = (
    "timestamp, power.draw [W], clocks.gr [MHz], module\n2026/11/24 10:00:00.000, 250.1 W, 1980 MHz, 0.5 kW\n"
)
HWINFO = (
    'Date,Time,"GPU Temperature [°C]","GPU Hot Spot [°F]","GPU Memory Allocated [MB]","Fan of the case [%]"\n'
    "24.11.2026,10:0:1.5,54,212,1.5,40\n"
)
GROUPS = ',,"GPU [#1]: A","GPU [#1]: A","GPU [#1]: A","Board"\n'
RLE = "timestamp,device,temp_c,board_mw\n2026-11-24T10:00:00Z,gpu0,54,52300\n"
WANDB = "_step,_timestamp,loss,system.gpu.0.own,system.tpu.own\n1,1700000000,2,250000,7\n"
UNIT = {"units": ["power_w=mW"]}


def read(folder: Path, text: str, *columns: str, **given: Any) -> Imported:
    path = written(folder / "log", text)
    return imported(folder, path, timezone="UTC", hints=hints_of(columns=columns, **given))


@pytest.mark.parametrize(
    ("text", "columns", "given", "sample"),
    [
        (SMI, ["sm_clock_mhz=clocks.gr"], {}, {"device": "gpu", "power_w": 250.1, "sm_clock_mhz": 1980}),
        (
            SMI,
            ["power_limit_w=module"],
            {"device": "a"},
            {"device": "a", "power_w": 250.1, "power_limit_w": 500},
        ),
        (SMI, ["device=module"], {}, {"device": "0.5 kW", "power_w": 250.1}),
        (RLE, ["power_w=board_mw"], UNIT, {"device": "gpu0", "temperature_c": 54, "power_w": 52.3}),
        (
            HWINFO,
            ["memory_temperature_c=GPU Hot Spot"],
            {"units": ["memory_used_bytes=MB"]},
            {"device": "gpu0", "temperature_c": 54, "memory_temperature_c": 100, "memory_used_bytes": 1.5e6},
        ),
        (
            HWINFO + GROUPS,
            ["memory_temperature_c=GPU Hot Spot [°F]"],
            {},
            {"device": "gpu1", "temperature_c": 54, "memory_temperature_c": 100},
        ),
        (WANDB, ["power_w=own"], UNIT, {"device": "gpu0", "power_w": 250}),
        (
            WANDB,
            ["utilization_pct=system.tpu.own"],
            {"device": "tpu"},
            {"device": "tpu", "utilization_pct": 7},
        ),
        (
            'up 1\nmy_watts{gpu="3"} 250000 1700000000000\n',
            ["power_w=my_watts"],
            UNIT,
            {"device": "gpu3", "power_w": 250},
        ),
        (
            "# TYPE my_watts gauge\nmy_watts 250 1700000000000\n",
            ["power_w=my_watts"],
            {"device": "card"},
            {"device": "card", "power_w": 250},
        ),
    ],
)
def test_a_named_column_is_taken_in_its_unit(
    tmp_path: Path, text: str, columns: list[str], given: dict[str, Any], sample: dict[str, Any]
) -> None:
    found = read(tmp_path, text, *columns, **given)
    (row,) = found.rows("sample")
    del row["time_ns"]
    assert row == sample
    name = columns[0].partition("=")[0]
    unused = {cell for text in found.result["ignored"] for cell in text.rpartition(": ")[2].split(", ")}
    assert unused.isdisjoint(found.result["columns"].values())
    assert name == "device" or found.result["columns"][name].startswith(columns[0].partition("=")[2])


@pytest.mark.parametrize(
    ("text", "columns", "given", "sentence"),
    [
        (
            SMI,
            ["fan_pct=fan"],
            {},
            "--column fan_pct=fan, but this device log has no fan; allowed is one of: clocks",
        ),
        (RLE, [], {"device": "a"}, "--device a is for rows that name no device, but these name theirs: gpu0"),
        (
            RLE,
            [],
            {"units": ["fan_pct=fraction"]},
            "--unit fan_pct=fraction, but none of the logs has a value of fan_pct",
        ),
        (
            exposition(1700000000000),
            ["fan_pct=fan"],
            {},
            "but this device log has no fan; allowed is one of: DCGM",
        ),
        (
            WANDB,
            ["power_w=system.gpu.1.own"],
            {},
            "this device log has no system.gpu.1.own; allowed is one of:",
        ),
        (
            SMI.replace("module", "module [hp]"),
            ["power_w=module"],
            {},
            "hp is no unit of power_w; say which it is",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused(
    tmp_path: Path, text: str, columns: list[str], given: dict[str, Any], sentence: str
) -> None:
    path = written(tmp_path / "log", text)
    message = refused(tmp_path, path, timezone="UTC", hints=hints_of(columns=columns, **given))
    assert sentence in message
