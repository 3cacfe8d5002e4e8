"""Any table: its columns by our names, a trainer's, or those that a person says; its times, as read."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.hints.named import hints_of

EPOCH_NS = 1_761_699_262_250_000_000
STARTED = "2026-11-24T10:00:00Z"
SEMICOLONS = """when;GPU Power [mW];temp;step;loss
2026-11-24T10:00:00Z;52300,5;54;1;2,5
2026-11-24T10:00:01Z;52400,5;;11;2,25
2026-11-24T10:00:02Z;x;55;;
"""


def table_of(folder: Path, path: Path, *columns: str, **given: Any) -> Any:
    timezone = given.pop("timezone", None)
    return imported(folder, path, timezone=timezone, hints=hints_of(columns=columns, **given))


def test_a_table_with_steps_and_samples_and_decimal_commas(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", SEMICOLONS)
    found = table_of(
        tmp_path, path, "power_w=GPU Power [mW]", "temperature_c=temp", device="card", time="when"
    )
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(1, 2.5), (11, 2.25)]
    samples = [
        (row["device"], row["power_w"], row["temperature_c"], row["time_ns"] // 10**9 % 60)
        for row in found.rows("sample")
    ]
    assert samples == [("card", 52.3005, 54, 0), ("card", 52.4005, None, 1), ("card", None, 55, 2)]
    assert found.result["account"] == {"read": 5, "kept": 5, "merged": 0, "left_out": 0}
    assert found.result["timezone"].startswith("telemetry: when, read as a date and time; step log")
    expected = pd.read_csv(path, sep=";", decimal=",")["GPU Power [mW]"].str.replace(",", ".")
    assert [row[1] for row in samples[:2]] == [float(cell) / 1000 for cell in expected[:2]]


@pytest.mark.parametrize(
    ("times", "given", "read_as"),
    [
        (["1761699262.25", "1761699263.25"], {}, "epoch seconds"),
        (["1761699262250", "1761699263250"], {}, "epoch milliseconds"),
        (["1761699262250000", "1761699263250000"], {}, "epoch microseconds"),
        (["1761699262250000000", "1761699263250000000"], {}, "epoch nanoseconds"),
        (["1761699262250", "1761699263250"], {"units": ["time=ms"]}, "epoch milliseconds"),
        (["2025-10-29T00:54:22.250Z", "2025-10-29T00:54:23.250Z"], {}, "a date and time"),
        (["2025/10/29 01:54:22.250+01:00", "2025/10/29 01:54:23.250+01:00"], {}, "a date and time"),
        (["0", "1"], {"started_at": "2025-10-29T00:54:22.250Z"}, "seconds since the start"),
        (
            ["0", "1000"],
            {"started_at": "2025-10-29T00:54:22.250Z", "units": ["time=ms"]},
            "milliseconds since",
        ),
    ],
)
def test_times_are_read_in_one_way_that_is_said(
    tmp_path: Path, times: list[str], given: dict[str, Any], read_as: str
) -> None:
    rows = "".join(f"{time}\t{250.5 + n}\n" for n, time in enumerate([*times, "noon"]))
    path = written(tmp_path / "a.tsv", f"clock\tp\n{rows}")
    found = table_of(tmp_path, path, "power_w=p", time="clock", **given)
    assert [row["time_ns"] for row in found.rows("sample")] == [EPOCH_NS, EPOCH_NS + 10**9]
    assert read_as in found.result["timezone"]
    assert list(found.result["left_out"].values()) == [1]
    assert next(iter(found.result["left_out"])).startswith("torn row: clock is no time (")


@pytest.mark.parametrize(
    ("content", "columns", "given", "sentence"),
    [
        (
            "t,p\n12.5,1\n",
            ["power_w=p"],
            {"time": "t"},
            "t has 12.5, which is no time from 1990 to 2100 in s",
        ),
        (
            "t,p\n1761699262,1\n",
            ["power_w=p"],
            {"time": "t", "units": ["time=ms"]},
            "which is of seconds since",
        ),
        ("t,p\n1761699262,1\n", ["power_w=p"], {"time": "t", "started_at": STARTED}, "has times of its own"),
        (
            "t,p\n1761699262,1\n",
            ["power_w=q"],
            {"time": "t"},
            "--column power_w=q names q, but no row has it",
        ),
        (
            "t,p\n1761699262,1\n",
            ["power_w=p"],
            {"time": "u"},
            "--time names u, but no row has it; it has: p, t",
        ),
        (
            "t,p\n1761699262,1\n",
            [],
            {"time": "t"},
            "a table (CSV); no name of its columns is known (p, t); say which are which: thermograd import ",
        ),
        (
            "t,P [hp]\n1,1\n",
            ["power_w=P [hp]"],
            {"time": "t"},
            "hp is no unit of power_w; say which it is with",
        ),
        (
            "a,p\n1,2\n",
            ["power_w=p"],
            {},
            "has samples, but none of its columns is known as their time; name it with",
        ),
        ("t,p,p\n1761699262,1,2\n", ["power_w=p"], {"time": "t"}, "two columns have the name p"),
        (
            't,p\n1761699262,"1,234"\n',
            ["power_w=p"],
            {"time": "t"},
            "1,234 may be of thousands or a fraction",
        ),
        (
            "Step,Loss,Wall Time\n1,2.5,1764000000\n",
            [],
            {"time": "Wall Time"},
            "its steps have no number; if that is Step, say so with --column step=Step",
        ),
        ("Step,Loss,Wall Time\n1,2.5,1764000000\n", [], {}, "--time 'Wall Time' --column step=Step"),
        (
            '[{"step": 1, "time": 1764000000, "loss": 1}]\n',
            [],
            {"time": "time"},
            "--time is for a table (CSV, Parquet, JSON Lines), but a.log is a step log (JSON)",
        ),
        (
            '{"t": [1, 2], "power_w": 5}\n',
            [],
            {"time": "t"},
            "--time names t, but it holds no number, text or time in any row",
        ),
        (
            "t,power_w\n0,1\n1,2\n",
            [],
            {"time": "t", "started_at": STARTED, "sample_time_s": 2.0},
            "--sample-time is for a log that does not say when its rows were, but a.log does: t",
        ),
        ("t;p\n1761699262;1.234\n", ["power_w=p"], {"time": "t"}, "1.234 may be of thousands or a fraction"),
        ("t;p;q\n1761699262;1,5;2.5\n", ["power_w=p"], {"time": "t"}, "have a comma (1,5) and a point (2.5)"),
        (
            "step,loss\n1,2\n",
            [],
            {},
            "none of its columns is known as their time; name it with --time COLUMN (it",
        ),
        (
            '{"step": 1, "loss": 2}\n',
            [],
            {},
            "JSON Lines has steps, but none of its columns is known as their",
        ),
        ('{"step": 1, "loss": 2}\n', [], {"started_at": STARTED}, "does not say how long a step took"),
    ],
)
def test_what_is_not_sure_is_refused(
    tmp_path: Path, content: str, columns: list[str], given: dict[str, Any], sentence: str
) -> None:
    message = refused(
        tmp_path, written(tmp_path / "a.log", content), hints=hints_of(columns=columns, **given)
    )
    assert sentence in message
    assert "\n" not in message


def test_a_parquet_file_of_many_types(tmp_path: Path) -> None:
    rows = 4
    columns = {
        "when": pa.array([EPOCH_NS + 7 + n * 10**9 for n in range(rows)], pa.timestamp("ns", "UTC")),
        "local": pa.array([dt.datetime(2026, 11, 24, 10, 0, n) for n in range(rows)], pa.timestamp("ms")),
        "card": pa.array(["a", "b"] * 2).dictionary_encode(),
        "power": pa.array([Decimal("250.25")] * 3 + [None], pa.decimal128(9, 2)),
        "nested": pa.array([{"deep": {"load": n}} for n in range(rows)]),
        "heat": pa.array(["129.2 degF"] * rows, pa.large_string()),
        "list": pa.array([[1]] * rows),
    }
    path = tmp_path / "a.anything"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    names = ("power_w=power", "device=card", "utilization_pct=nested/deep/load", "temperature_c=heat")
    found = table_of(tmp_path, path, *names, time="when").rows("sample")
    assert [row["time_ns"] for row in found] == [EPOCH_NS + 7 + n * 10**9 for n in range(rows)]
    assert [row["device"] for row in found] == ["a", "b", "a", "b"]
    assert [row["power_w"] for row in found] == [250.25, 250.25, 250.25, None]
    assert [row["utilization_pct"] for row in found] == [0, 1, 2, 3]
    assert [row["temperature_c"] for row in found] == pytest.approx([54.0] * rows, rel=1e-12)
    local = table_of(tmp_path, path, *names, time="local", timezone="+01:00").rows("sample")
    assert local[0]["time_ns"] == 1_795_510_800 * 10**9
    cut = written(tmp_path / "cut", path.read_bytes()[:-9])
    hints = hints_of(columns=names, time="when")
    assert "a damaged Parquet file (" in refused(tmp_path, cut, hints=hints)


def test_a_parquet_file_with_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    note = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"timestamp": [1.764e9], "step": [1], "loss": [2.5], "note": note}), path)
    assert "a damaged Parquet file ('utf-8' codec can't decode" in refused(tmp_path, path)


def test_json_lines_are_steps_with_gaps_and_what_is_torn_is_left_out(tmp_path: Path) -> None:
    lines = [
        {"step": 10 * n, "train": {"loss": 3 - n / 10}, "timestamp": 1_761_699_262 + n} for n in (1, 2, 3)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    path = written(tmp_path / "a.log", f'{text}\n[1]\n{{"step": 40, "tr')
    found = imported(tmp_path, path)
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(10, 2.9), (20, 2.8), (30, 2.7)]
    assert found.result["left_out"] == {
        "torn row: a line that is not an object": 1,
        "torn row: the file ends in mid-line": 1,
    }
    assert found.result["columns"] == {"loss": "train/loss"}


def test_json_lines_of_our_own_samples_and_steps_need_no_option(tmp_path: Path) -> None:
    lines = [
        {
            "time": 1_761_699_262_000 + n,
            "device": "gpu0" if n % 2 else 1,
            "power_w": 100 + n,
            "step": n,
            "loss": 1,
        }
        for n in range(4)
    ]
    found = imported(tmp_path, written(tmp_path / "a", "".join(f"{json.dumps(line)}\n" for line in lines)))
    assert [row["device"] for row in found.rows("sample")] == ["gpu1", "gpu0", "gpu1", "gpu0"]
    assert [row["step"] for row in found.rows("step")] == [0, 1, 2, 3]
    assert found.result["account"] == {"read": 8, "kept": 8, "merged": 0, "left_out": 0}


def test_samples_and_steps_without_a_clock_are_timed_as_a_person_says(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "p,q\n1,2\n3,4\n")
    found = table_of(tmp_path, path, "power_w=p", started_at="1970-01-02T00:00:00Z", sample_time_s=0.5)
    assert [row["time_ns"] / 1e9 - 86_400 for row in found.rows("sample")] == [0.0, 0.5]
    path = written(tmp_path / "b.csv", "it|l\n10|2\n30|4\n")
    found = table_of(tmp_path, path, "step=it", "loss=l", started_at="1970-01-02T00:00:00Z", step_time_s=0.5)
    assert [row["time_ns"] / 1e9 - 86_400 for row in found.rows("step")] == [5.0, 15.0]
    assert found.run.facts["import"]["step_times_estimated"].startswith("estimated: --started-at")


def test_a_column_that_is_named_adds_to_those_that_are_known(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "timestamp,step,loss,watt\n1761699262,1,2.5,250\n")
    assert table_of(tmp_path, path).result["rows"] == {"step": 1, "sample": 0, "metric": 1}
    found = table_of(tmp_path, path, "power_w=watt")
    assert found.result["rows"] == {"step": 1, "sample": 1, "metric": 0}


def test_a_table_of_steps_without_times_gives_way_to_a_log_that_has_them(tmp_path: Path) -> None:
    written(tmp_path / "log" / "a.csv", "step,loss\n1,2.5\n")
    written(tmp_path / "log" / "b.jsonl", '{"step": 1, "loss": 2.5, "time": 1761699262}\n')
    found = imported(tmp_path, tmp_path / "log")
    assert found.result["rows"]["step"] == 1
    assert found.result["ignored"] == ["a.csv: steps without times; they are taken from b.jsonl"]


def test_units_at_the_end_of_names_and_in_cells_and_a_rack_for_a_device(tmp_path: Path) -> None:
    rows = '1764000000,0,5.8 MJ,65535,131,6500\n1764000001,500,3 mJ,"1.5e4",132,2e7\n'
    path = written(tmp_path / "a.csv", "t,elapsed_ms,e,power_limit_w,temp_f,power_w\n" + rows)
    columns = ("energy_j=e", "temperature_c=temp_f")
    samples = table_of(tmp_path, path, *columns, device="rack", time="t").rows("sample")
    assert [row["power_w"] for row in samples] == [6500, 2e7]
    assert [row["power_limit_w"] for row in samples] == [None, 15_000]  # 65535 stands for none
    assert [row["temperature_c"] for row in samples] == [55, pytest.approx(55.5555556)]
    assert [row["energy_j"] for row in samples] == [5_800_000, 0.003]
    later = table_of(tmp_path, path, time="elapsed_ms", started_at=STARTED).rows("sample")
    assert later[1]["time_ns"] - later[0]["time_ns"] == 500_000_000


def test_a_row_of_another_time_unit_or_decade_is_left_out(tmp_path: Path) -> None:
    rows = [*range(1_264_000_000, 1_264_000_005), 1_264_000_005_000, 1_900_000_000]
    text = "".join(f"{at},{n},2\n" for n, at in enumerate([1_264_000_000_000, *rows]))
    found = table_of(tmp_path, written(tmp_path / "a.csv", f"time,step,loss\n{text}"))
    assert [row["step"] for row in found.rows("step")] == [1, 2, 3, 4, 5]
    assert found.result["left_out"] == {
        "a time that is not from 1990 to 2100 (epoch seconds)": 2,
        "a time decades from those of the other rows": 1,
    }


@pytest.mark.parametrize("before", ["sep=;\n", "# a comment, of somebody\n# host: x\n", "sep=;\n# a\n", "#"])
def test_what_stands_before_a_header_is_no_header(tmp_path: Path, before: str) -> None:
    path = written(tmp_path / "a.csv", f"{before}time;power_w\n1764000000;1,5\n1764000001;2,5\n")
    found = table_of(tmp_path, path)
    assert [row["power_w"] for row in found.rows("sample")] == [1.5, 2.5]
    assert found.result["account"]["read"] == 2


def test_what_only_python_reads_as_a_number_is_none(tmp_path: Path) -> None:
    rows = ["1,1_000", "2,\u0661\u0662", "1_0,2", "\u0661,3", "4,1e5"]
    text = "".join(f"{1_764_000_000 + n},{row}\n" for n, row in enumerate(rows))
    found = table_of(tmp_path, written(tmp_path / "a.csv", f"time,step,loss\n{text}"))
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(4, 100_000)]
    assert found.result["account"]["left_out"] == 4


@pytest.mark.parametrize(
    ("times", "given"),
    [
        (pa.array([dt.date(2026, 11, 24), dt.date(2026, 11, 25)]), {"timezone": "UTC"}),
        (pa.array([dt.timedelta(days=0), dt.timedelta(days=1)]), {"started_at": "2026-11-24T00:00:00Z"}),
    ],
)
def test_dates_and_durations_of_parquet_are_times(tmp_path: Path, times: Any, given: dict[str, str]) -> None:
    pq.write_table(pa.table({"t": times, "power_w": [1.0, 2.0]}), tmp_path / "a.parquet")
    found = table_of(tmp_path, tmp_path / "a.parquet", time="t", **given)
    assert [row["time_ns"] // 10**9 for row in found.rows("sample")] == [1_795_478_400, 1_795_564_800]
