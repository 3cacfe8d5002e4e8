"""W&B's folders of runs, and the charts of its page."""

import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.every_run import import_every_run
from thermograd.ingest.importers.recording import Hints
from thermograd.store.runs.own_values.configuration import run_config

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports" / "wandb"
ONLINE, OFFLINE = "run-20260101_120000-abc123", "offline-run-20260102_120000-def456"
TIMED = Hints(started_at="2026-11-24T10:00:00Z", step_time_s=2.0)
BEGAN_NS = 1_795_514_400 * 10**9


@pytest.fixture
def wandb(tmp_path: Path) -> Path:
    """A folder as W&B leaves it, with a link to the latest run."""
    pytest.importorskip("wandb")
    folder = tmp_path / "project" / "wandb"
    for name in (ONLINE, OFFLINE):
        (folder / name / "files").mkdir(parents=True)
        shutil.copyfile(FIXTURES / "run.wandb", folder / name / f"run-{name[-6:]}.wandb")
        written(folder / name / "files" / "config.yaml", "lr:\n  value: 0.001\n_wandb:\n  value:\n    a: 1\n")
    os.symlink(OFFLINE, folder / "latest-run", target_is_directory=True)
    return folder


def test_the_folder_of_a_run_and_the_link_to_the_latest_are_that_run(wandb: Path, tmp_path: Path) -> None:
    for number, (path, name) in enumerate(((wandb / "latest-run", OFFLINE), (wandb / ONLINE, ONLINE))):
        found = imported(tmp_path / str(number), path)
        assert len(found.rows("step")) == 8
        assert found.run.facts["name"] == name
        assert run_config(found.run) == {"lr": 0.001}
        assert found.result["ignored"] == []


def test_of_several_runs_one_is_named_or_all_are_imported(wandb: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, wandb)
    assert f"2 runs are in it: abc123 {ONLINE} (began 20260101_120000, " in message
    for number, wanted in enumerate(("def456", OFFLINE)):
        found = imported(tmp_path / str(number), wandb, hints=Hints(run=wanted))
        assert found.run.facts["name"] == OFFLINE
    every = import_every_run(tmp_path / "every", [wandb], hints=Hints(run="all"))
    assert [answer["rows"]["step"] for answer in every] == [8, 8]


def test_a_run_that_is_still_written_is_read_as_far_as_it_is(wandb: Path, tmp_path: Path) -> None:
    path = next((wandb / ONLINE).glob("*.wandb"))
    path.write_bytes(path.read_bytes()[:-700])
    found = imported(tmp_path, wandb / ONLINE)
    assert 0 < len(found.rows("step")) < 8
    assert any(reason.startswith("damaged end of the file") for reason in found.result["left_out"])


def test_what_the_records_say_of_a_run_is_taken_over(tmp_path: Path) -> None:
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    records = [pb.Record() for _ in range(4)]
    run = records[0].run
    run.run_id, run.display_name, run.host, run.start_time.seconds = (
        "abc123",
        "sandy-sun-3",
        "node-1",
        1_700_000_000,
    )
    for record, values in (
        (run.config, {"lr": 0.1, "_wandb": {}}),
        (records[1].config, {"lr": 0.2, "api_key": "s3cret99"}),
    ):
        for key, value in values.items():
            item = record.update.add()
            item.key, item.value_json = key, json.dumps(value)
    for key, value in {"loss": 2.0, "_step": 1, "_timestamp": 1_700_000_005.0}.items():
        item = records[2].history.item.add()
        item.key, item.value_json = key, json.dumps(value)
    records[3].exit.exit_code = 1
    found = imported(tmp_path, written(tmp_path / "run.wandb", framed(records)))
    assert run_config(found.run) == {"lr": 0.2, "api_key": "<redacted>"}
    facts = found.run.facts
    assert (facts["name"], facts["host"]) == ("sandy-sun-3", "node-1")
    assert facts["started_time_ns"] == 1_700_000_000 * 10**9
    (end,) = found.rows("mark")
    assert (end["text"], json.loads(end["detail"])) == (
        "failed, as W&B says",
        {"state": "failed", "exit_code": 1},
    )


def framed(records: list[Any]) -> bytes:
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        text = record.SerializeToString()
        data += struct.pack("<IHB", zlib.crc32(text, zlib.crc32(b"\x01")), len(text), 1) + text
    return data


def test_a_chart_gives_steps_where_a_person_says_when_they_were(tmp_path: Path) -> None:
    path = FIXTURES / "chart.csv"
    message = refused(tmp_path, path)
    assert "the chart of W&B has steps but no times" in message
    assert "--started-at 2026-11-24T10:00:00Z --step-time 0.5" in message
    found = imported(tmp_path, path, hints=TIMED)
    steps = [(row["step"], str(row["loss"]), row["time_ns"] - BEGAN_NS) for row in found.rows("step")]
    assert steps == [
        (n, loss, 2 * n * 10**9) for n, loss in ((1, "2.5"), (3, "1.5"), (5, "nan"), (7, "0.875"))
    ]
    assert [(row["step"], row["value"]) for row in found.rows("metric")] == [(3, 0.5), (7, 0.625)]
    assert found.result["account"] == {"read": 4, "kept": 4, "merged": 0, "left_out": 0}
    assert found.result["warnings"][0].startswith("1 row: values are means of several steps")
    assert found.run.facts["name"] == "sandy-sun-3"


def test_a_chart_over_passed_time_takes_no_step_time(tmp_path: Path) -> None:
    text = chart("Relative Time (Process)", "1,2,2,2,3,3,3", step=True)
    hints = Hints(started_at="2026-11-24T10:00:00Z", step_time_s=2.0, run="a - b")
    message = refused(tmp_path, written(tmp_path / "chart.csv", text), hints=hints)
    assert "--step-time is for a log that does not say when its rows were, but chart.csv does" in message


def chart(axis: str, *rows: str, runs: tuple[str, ...] = ("a - b",), step: bool = False) -> str:
    columns = [f"{run} - {name}" for run in runs for name in (["_step"] if step else []) + ["train/loss"]]
    header = [axis, *(column + end for column in columns for end in ("", "__MIN", "__MAX"))]
    return "\n".join([",".join(f'"{cell}"' for cell in header), *rows, ""])


def test_of_a_chart_of_several_runs_one_is_named(tmp_path: Path) -> None:
    text = chart("Step", "1,2,2,2,3,3,3", "2,1,1,1,,,", runs=("one", "two"))
    path = written(tmp_path / "chart.csv", text)
    assert "2 runs are in it: one, two; say which with --run" in refused(tmp_path, path, hints=TIMED)
    found = imported(tmp_path, path, hints=TIMED._replace(run="two"))
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(1, 3.0)]
    assert found.result["left_out"] == {"a point at which this run has no value": 1}
    assert len(import_every_run(tmp_path / "every", [path], hints=TIMED._replace(run="all"))) == 2


@pytest.mark.parametrize("stamp", ["1795514401000", "1795514401", "2026-11-24T10:00:01Z"])
def test_a_chart_over_wall_time_has_times_of_its_own(tmp_path: Path, stamp: str) -> None:
    path = written(tmp_path / "chart.csv", chart("Wall Time", f"{stamp},4,4,4,2,2,2", step=True))
    (row,) = imported(tmp_path, path).rows("step")
    assert (row["step"], row["loss"], row["time_ns"]) == (4, 2.0, BEGAN_NS + 10**9)


def test_a_chart_over_relative_time_needs_a_start_and_gives_metrics_without_steps(tmp_path: Path) -> None:
    path = written(tmp_path / "chart.csv", chart("Relative Time (Process)", "1.5,2,2,2", "2.5,1,1,1"))
    assert "say when the training began: " in refused(tmp_path, path)
    found = imported(tmp_path, path, hints=TIMED._replace(step_time_s=None))
    metrics = [(row["name"], row["value"], row["time_ns"] - BEGAN_NS) for row in found.rows("metric")]
    assert metrics == [("train/loss", 2.0, 1_500_000_000), ("train/loss", 1.0, 2_500_000_000)]
    assert "the chart has times and no steps" in found.result["warnings"][0]


def test_a_chart_over_another_metric_needs_its_steps(tmp_path: Path) -> None:
    path = written(tmp_path / "chart.csv", chart("epoch", "1,2,2,2"))
    message = refused(tmp_path, path, hints=TIMED)
    assert "the axis of this chart of W&B, epoch, is no step, and it has no _step" in message
    with_steps = written(tmp_path / "steps.csv", chart("epoch", "1,40,40,40,2,2,2", step=True))
    (row,) = imported(tmp_path, with_steps, hints=TIMED).rows("step")
    assert (row["step"], row["loss"]) == (40, 2.0)


def test_a_chart_with_a_name_too_long_for_a_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chart.csv"
    path.write_text(f'"Step","a - loss","a - loss__MIN","a - loss__MAX","a - {"x" * 200_000}"\n1,2,2,2,2\n')
    message = refused(tmp_path, path, hints=Hints(started_at="2026-11-24T10:00:00Z", step_time_s=0.5))
    assert "torn row: before the first header" in message
