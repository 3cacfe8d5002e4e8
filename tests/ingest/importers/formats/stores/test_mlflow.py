"""MLflow's file store and its database."""

import math
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from importing import Imported, imported, refused
from thermograd.ingest.importers.every_run import describe_imports, import_every_run
from thermograd.ingest.importers.recording import Hints
from thermograd.store.errors import ImportFormatError
from thermograd.store.runs.describe import describe_run, run_facts_shown
from thermograd.store.runs.own_values.configuration import run_config

STORES = Path(__file__).parents[4] / "fixtures" / "imports" / "mlflow"
BEGAN_NS = 1_764_000_000 * 10**9
CONFIG = {"optimizer.lr": "0.001", "batch_size": "8", "tags": {"team": "night shift"}}


@pytest.fixture(params=["mlruns", "mlflow.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what MLflow wrote: a run, and a deleted one."""
    source, copy = STORES / request.param, tmp_path / "store" / request.param
    copy.parent.mkdir()
    return Path(shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy))


def run_folder(store: Path) -> Path:
    return next(path.parent for path in store.rglob("meta.yaml") if "steady-otter" in path.read_text())


def stored(store: Path) -> dict[tuple[str, int], tuple[int, float]]:
    """Return time and value of each point of the run by name and step, by another way than the importer's."""
    if store.is_dir():
        metrics = run_folder(store) / "metrics"
        files = [path for path in metrics.rglob("*") if path.is_file()]
        rows = [
            (path.relative_to(metrics).as_posix(), *line.split())
            for path in files
            for line in path.read_text().splitlines()
        ]
        return {(name, int(step)): (int(time), float(value)) for name, time, value, step in rows}
    with sqlite3.connect(store) as connection:
        found = connection.execute(
            "SELECT key, step, timestamp, value, is_nan FROM metrics JOIN runs USING (run_uuid) "
            "WHERE name = 'steady-otter'"
        ).fetchall()
    return {
        (key, step): (time, math.nan if is_nan else math.inf if value > 1e308 else value)
        for key, step, time, value, is_nan in found
    }


def test_every_value_of_a_run_is_there(store: Path, tmp_path: Path) -> None:
    truth = stored(store)
    found = imported(tmp_path, store)
    assert found.result["rows"] == {"step": 12, "sample": 12, "metric": 3}
    assert found.result["account"] == {"read": 69, "kept": 27, "merged": 36, "left_out": 6}
    assert found.result["left_out"] == {"a system metric of no use": 6}
    for row in found.rows("step"):
        for column, name in (("loss", "train/loss"), ("grad_norm", "grad_norm"), ("learning_rate", "lr")):
            time_ms, value = truth[name, row["step"]]
            assert repr(row[column]) == repr(value)
            assert row["time_ns"] == time_ms * 10**6
    for row in found.rows("metric"):
        assert (row["time_ns"] // 10**6, row["value"]) == truth[row["name"], row["step"]]
    samples = [row for row in found.rows("sample") if row["device"] == "gpu0"]
    for row, step in zip(samples, range(0, 12, 2), strict=True):
        assert row["utilization_pct"] == truth["system/gpu_0_utilization_percentage", step][1]
        assert row["power_w"] == truth["system/gpu_0_power_usage_watts", step][1]
        assert row["memory_used_bytes"] == truth["system/gpu_0_memory_usage_megabytes", step][1] * 1e6


def test_a_run_is_called_and_configured_as_in_mlflow(store: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, store)
    facts = found.run.facts
    assert facts["name"] == "steady-otter"
    assert run_config(found.run) == CONFIG
    assert (facts["started_time_ns"], facts["ended_time_ns"]) == (
        1_764_000_000 * 10**9,
        1_764_000_004 * 10**9,
    )
    assert facts["import"]["run"]["state"] == "failed"
    (end,) = found.rows("mark")
    assert (end["mark"], end["text"]) == ("run_ended", "failed, as MLflow says")
    shown = describe_run(run_facts_shown(found.run))
    assert "(imported: failed, as MLflow says)" in shown.splitlines()[0]
    assert any("1 deleted run: " in text and " gone " in text for text in found.result["ignored"])


def several(store: Path) -> str:
    """Add a run to a store; return its id."""
    other = "f" * 32
    if store.is_dir():
        first = run_folder(store)
        shutil.copytree(first, first.parent / other)
        meta = first.parent / other / "meta.yaml"
        meta.write_text(meta.read_text().replace(first.name, other).replace("steady-otter", "calm-cow"))
        (first.parent / other / "tags" / "mlflow.runName").write_text("calm-cow")
        return other
    with sqlite3.connect(store) as connection:
        for table in ("runs", "metrics", "tags", "params"):
            names = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            theirs = ", ".join(f"'{other}'" if name == "run_uuid" else name for name in names)
            connection.execute(
                f"INSERT INTO {table} SELECT {theirs} FROM {table} WHERE run_uuid = "
                "(SELECT run_uuid FROM runs WHERE name = 'steady-otter')"
            )
        connection.execute("UPDATE runs SET name = 'calm-cow' WHERE run_uuid = ?", (other,))
        connection.execute(
            "UPDATE tags SET value = 'calm-cow' WHERE run_uuid = ? AND value = 'steady-otter'", (other,)
        )
    return other


def test_of_several_runs_one_is_named_or_all_are_imported(store: Path, tmp_path: Path) -> None:
    other = several(store)
    message = refused(tmp_path, store)
    assert "2 runs are in it: " in message
    assert f"{other} calm-cow (experiment tiny-gpt, " in message
    assert "say which with --run ID_OR_NAME, or --run all for a run of each; 1 deleted run: " in message
    for wanted in (other, "ffff", "calm-cow"):
        assert imported(tmp_path, store, hints=Hints(run=wanted)).run.facts["import"]["run"]["id"] == other
    assert "no run is called nobody: " in refused(tmp_path, store, hints=Hints(run="nobody"))
    every = import_every_run(tmp_path / "every", [store], hints=Hints(run="all"))
    assert [answer["rows"]["step"] for answer in every] == [12, 12]
    assert len(list((tmp_path / "every").iterdir())) == 2


def test_a_deleted_run_is_taken_where_its_id_is_named(store: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, store, hints=Hints(run="gone"))
    gone = message.partition("1 deleted run: ")[2].split(" ")[0]
    assert len(imported(tmp_path, store, hints=Hints(run=gone)).rows("step")) == 1


def test_folders_of_an_experiment_and_of_a_run_are_stores_too(tmp_path: Path) -> None:
    folder = run_folder(STORES / "mlruns")
    for number, path in enumerate((folder, folder.parent)):
        found = imported(tmp_path / str(number), path)
        assert (found.run.facts["name"], len(found.rows("step"))) == ("steady-otter", 12)


def points(tmp_path: Path, **files: str) -> Imported:
    """Import a run of these metrics, by name."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder(STORES / "mlruns"), folder)
    shutil.rmtree(folder / "metrics")
    for name, text in files.items():
        (folder / "metrics").mkdir(exist_ok=True)
        (folder / "metrics" / name).write_text(text)
    return imported(tmp_path, folder)


def lines(*rows: tuple[int, float, int]) -> str:
    return "".join(f"{1_764_000_000_000 + 1000 * second} {value} {step}\n" for second, value, step in rows)


def test_a_step_logged_again_after_a_restart_is_there_twice_with_its_own_norm(
    tmp_path: Path,
) -> None:
    """The files are one a metric: their points belong together by time, not by their place in a file."""
    times = [(1, 1), (2, 2), (3, 3), (900, 2), (901, 3), (902, 4)]
    losses = lines(*((at, 10.0 + at, step) for at, step in times))
    norms = lines(*((at, 20.0 + at, step) for at, step in times))
    rows = points(tmp_path, loss=losses, grad_norm=norms).rows("step")
    assert [row["step"] for row in rows] == [1, 2, 3, 2, 3, 4]
    assert all(row["grad_norm"] - row["loss"] == 10.0 for row in rows)


def test_calls_that_named_no_step_are_counted_and_the_run_says_so(tmp_path: Path) -> None:
    losses = lines(*((at, 3.0 - at, 0) for at in range(4)))
    found = points(tmp_path, loss=losses, accuracy=lines((9, 0.5, 0)))
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.0),
        (4, 0.0),
    ]
    assert any("every value has step 0" in text for text in found.result["warnings"])
    (accuracy,) = found.rows("metric")
    assert accuracy["step"] == 4  # the last before it


def test_torn_lines_cost_no_more_than_themselves(tmp_path: Path) -> None:
    text = (
        lines((1, 2.0, 1), (2, 1.0, 2), (2, 1.0, 2), (3, 1.0, 2**53 + 1))
        + "soon 1 3\n1764000003000 1.0 -4\n17640000"
    )
    found = points(tmp_path, loss=text)
    assert [row["step"] for row in found.rows("step")] == [1, 2]
    assert found.result["left_out"] == {
        "exact duplicate of another row": 1,
        "torn row: step is not a whole number >= 0": 2,
        "torn row: no time, value and step": 2,
    }


def test_no_link_in_a_run_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder(STORES / "mlruns"), folder)
    secret = tmp_path / "secret"
    secret.write_text(lines((1, 666.0, 1)))
    os.symlink(secret, folder / "metrics" / "stolen")
    os.symlink(secret, folder / "params" / "stolen")
    found = imported(tmp_path, folder)
    assert "stolen" not in found.result["metrics"]
    assert run_config(found.run) == CONFIG


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_database_that_is_being_written_is_read_and_left_as_it_is(tmp_path: Path, journal: str) -> None:
    path = Path(shutil.copyfile(STORES / "mlflow.db", tmp_path / "mlflow.db"))
    with sqlite3.connect(path) as writer:
        writer.execute(f"PRAGMA journal_mode = {journal}")
        (run,) = writer.execute("SELECT run_uuid FROM runs WHERE name = 'steady-otter'").fetchone()
        insert = "INSERT INTO metrics VALUES ('train/loss', 0.125, ?, ?, ?, 0)"
        writer.execute(insert, (1_764_000_010_000, run, 12))
        writer.commit()
        writer.execute(insert, (1_764_000_011_000, run, 13))  # not written yet
        assert [row["step"] for row in imported(tmp_path, path).rows("step")] == list(range(13))
        writer.commit()
    assert [row["step"] for row in imported(tmp_path, path).rows("step")] == list(range(14))


def test_a_log_beside_a_database_that_nobody_has_open_is_read_and_left(tmp_path: Path) -> None:
    """As a crash leaves it, or a copy of a directory."""
    path = Path(shutil.copyfile(STORES / "mlflow.db", tmp_path / "a.db"))
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE tags SET value = 'day shift' WHERE value = 'night shift'")
    writer.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", copy / f"mlflow.db{end}")
    writer.close()
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    found = imported(tmp_path, copy / "mlflow.db")
    assert run_config(found.run)["tags"] == {"team": "day shift"}
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_a_store_in_which_no_run_can_be_imported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="is for a store that holds several runs, but"):
        import_every_run(tmp_path, [tmp_path], hints=Hints(run="all"))
    message = refused(tmp_path, _empty(tmp_path))
    assert "no usable row in this step log" in message


def _empty(tmp_path: Path) -> Any:
    path = Path(shutil.copyfile(STORES / "mlflow.db", tmp_path / "mlflow.db"))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM metrics")
    return path


def test_of_every_run_it_is_said_which_was_not_imported() -> None:
    answers = [{"stored_run": "b900a5", "stored_name": "steady-otter", "refused": "no usable row"}]
    assert describe_imports(answers) == "Not imported: run b900a5 steady-otter: no usable row"
