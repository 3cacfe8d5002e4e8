"""Exporting a run: whole files, nothing lost, and a step log that can be imported again."""

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.errors import NotEnoughDataError, ThermogradError
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.export import export_run

STEP_COLUMNS = ["time_ns", "step", "loss", "grad_norm", "learning_rate", "epoch"]


@pytest.fixture
def pair(tmp_path: Path, data: Path) -> Run:
    result = import_run(tmp_path / "runs", [data / "pair"], None, None, None, None)
    return Run(tmp_path / "runs" / result["run_id"])


@pytest.fixture
def live(tmp_path: Path) -> Run:
    """A run as a training process leaves it: not sealed, two ranks, non-finite and unknown values."""
    run = create_run(tmp_path / "runs", "live")
    writer = EventWriter(run.path, run.run_id, "writer")
    for step, loss in ((1, math.nan), (2, math.inf), (3, None)):
        for rank in (1, 0):
            time_ns = 1_761_699_262_488_280_501 + step * 10**9
            writer.append("step", time_ns=time_ns, step=step, rank=rank, loss=loss, grad_norm=float(rank))
    writer.append("mark", mark="note", text='a "quoted", <b>note</b>\nin two lines', detail="")
    writer.close()
    return run


def steps_of(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_kind(run.path, "step").select(STEP_COLUMNS).to_pylist()
    return rows


def test_an_exported_step_log_is_imported_as_the_same_steps(pair: Run, tmp_path: Path) -> None:
    path = tmp_path / "out" / "grad_norm_log.json"
    assert export_run(pair, "grad_norm_log", path) == [path]
    result = import_run(tmp_path / "again", [path], None, None, None, None)
    assert result["left_out"] == {}
    again = Run(tmp_path / "again" / result["run_id"])
    assert steps_of(again) == steps_of(pair)
    digests = [run.facts["import"]["step_series_sha256"] for run in (pair, again)]
    assert digests[0] == digests[1]


def test_a_step_log_has_six_keys_and_epoch_seconds(pair: Run, tmp_path: Path) -> None:
    (path,) = export_run(pair, "grad_norm_log", tmp_path / "log.json")
    entries = json.loads(path.read_text())
    assert len(entries) == 40
    assert entries[1] == {
        "step": 2,
        "loss": 3.0,
        "grad_norm": 25.0 / math.sqrt(2),
        "learning_rate": 5e-05 * (1 - 2 / 40),
        "epoch": 0.2,
        "timestamp": 1740830421.0,
    }


def test_a_step_log_keeps_non_finite_and_unknown_values_of_the_lowest_rank(live: Run, tmp_path: Path) -> None:
    (path,) = export_run(live, "grad_norm_log", tmp_path / "log.json")
    entries = json.loads(path.read_text())
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    assert {entry["grad_norm"] for entry in entries} == {0.0}
    assert math.isnan(entries[0]["loss"])
    assert entries[1]["loss"] == math.inf
    assert entries[2]["loss"] is None
    result = import_run(tmp_path / "again", [path], None, None, None, None)
    times = [row["time_ns"] for row in steps_of(Run(tmp_path / "again" / result["run_id"]))]
    assert times == pytest.approx([row["time_ns"] for row in steps_of(live)][::2], rel=0, abs=200)


def test_csv_shows_every_event_and_null_as_an_empty_cell(live: Run, tmp_path: Path) -> None:
    paths = export_run(live, "csv", tmp_path / "out")
    assert [path.name for path in paths] == [
        "steps.csv",
        "samples.csv",
        "alerts.csv",
        "marks.csv",
        "metrics.csv",
    ]
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[0]["run_id"] == live.run_id
    assert rows[0]["time_ns"] == "1761699263488280501"
    assert (rows[0]["loss"], rows[4]["loss"]) == ("nan", "")
    with paths[3].open(newline="") as file:
        (mark,) = csv.DictReader(file)
    assert mark["text"] == 'a "quoted", <b>note</b>\nin two lines'
    with paths[1].open(newline="") as file:
        assert len(list(csv.reader(file))) == 1


def test_parquet_holds_the_log_and_the_run_id(pair: Run, tmp_path: Path) -> None:
    paths = export_run(pair, "parquet", tmp_path / "out")
    table = pq.read_table(paths[1], partitioning=None)
    assert table.column_names[0] == "run_id"
    assert set(table["run_id"].to_pylist()) == {pair.run_id}
    assert table.drop_columns("run_id").to_pylist() == read_kind(pair.path, "sample").to_pylist()


def test_a_run_without_steps_has_no_step_log(tmp_path: Path, data: Path) -> None:
    result = import_run(tmp_path / "runs", [data / "torn_monitor.csv"], None, None, None, None)
    run = Run(tmp_path / "runs" / result["run_id"])
    with pytest.raises(NotEnoughDataError, match="has no steps, so there is no grad_norm_log of it"):
        export_run(run, "grad_norm_log", tmp_path / "log.json")
    assert not (tmp_path / "log.json").exists()
    assert len(export_run(run, "csv", tmp_path / "out")) == 5


def test_an_export_replaces_a_file_whole_and_leaves_no_other(pair: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export_run(pair, "csv", folder)
    before = (folder / "steps.csv").read_bytes()
    export_run(pair, "csv", folder)
    assert (folder / "steps.csv").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [
        "alerts.csv",
        "marks.csv",
        "metrics.csv",
        "samples.csv",
        "steps.csv",
    ]


def test_a_failed_export_leaves_the_old_file_as_it_was(
    pair: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.json"
    path.write_text("old")
    monkeypatch.setattr("os.replace", _no_space)
    with pytest.raises(ThermogradError, match=r"cannot write .*log\.json: no space left"):
        export_run(pair, "grad_norm_log", path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(".log*"))


def _no_space(*_: Any) -> None:
    raise OSError(28, "no space left")


@pytest.mark.parametrize(
    ("output_format", "place", "fault"),
    [
        ("csv", "file", "it is no directory; csv is written to one, which may be new"),
        ("tensorboard", "file", "it is no directory; tensorboard is written to one, which may be new"),
        ("mlflow", "file", "it is no directory; mlflow is written to one, which may be new"),
        ("parquet", "nowhere", "it is no directory; parquet is written to one, which may be new"),
        ("grad_norm_log", ".", "it is a directory; grad_norm_log is one file: name one in it"),
        ("influx", "runs", "it is a directory; influx is one file: name one in it"),
        ("perfetto", "file/below/it", ".*file is no directory"),
        ("csv", "file/below/it", ".*file is no directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_a_clear_error(
    live: Run, tmp_path: Path, output_format: str, place: str, fault: str
) -> None:
    (tmp_path / "file").write_text("as it was")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(ThermogradError, match=f"^cannot write .*: {fault}$"):
        export_run(live, output_format, tmp_path / place)
    assert (tmp_path / "file").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "nowhere", "runs"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("output_format", ["grad_norm_log", "perfetto", "influx", "csv"])
def test_a_pipe_or_a_device_stays_what_it_is_and_nothing_waits_for_a_reader(
    live: Run, tmp_path: Path, output_format: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/stdout"), Path("/dev/full")):
        with pytest.raises(
            ThermogradError, match=f"cannot write {place}: it is (a device or a pipe|no direct)"
        ):
            export_run(live, output_format, place)
    assert (tmp_path / "pipe").is_fifo()


def test_folders_that_are_missing_on_the_way_to_a_file_are_made(live: Run, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "log.json"
    assert export_run(live, "grad_norm_log", path) == [path]
    assert len(json.loads(path.read_text())) == 3


def test_an_unknown_format_is_the_callers_mistake(pair: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of: grad_norm_log, csv, parquet"):
        export_run(pair, "xlsx", tmp_path)


@pytest.mark.parametrize("output_format", ["grad_norm_log", "csv"])
def test_a_place_on_a_drive_that_there_is_not_is_a_clear_error(
    pair: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.path.lexists", lambda path: False)
    with pytest.raises(ThermogradError, match=r"^cannot write .*file/below"):
        export_run(pair, output_format, tmp_path / "file" / "below")
