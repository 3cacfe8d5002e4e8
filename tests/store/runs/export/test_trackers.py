"""Runs for experiment trackers: read back by each tracker's own library, or by a reader of its files."""

import json
import math
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.errors import ThermogradError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.export import export_run

BEGAN_NS = 1_761_699_262_000_000_000
DEVICES = {
    "GPU-1f2e3d": {"model": "NVIDIA H100 80GB HBM3", "index": 3},
    "simulated:gpu": {"model": "a model", "simulated": True},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run of two ranks with values that are not finite, not known, and by name."""
    facts = {"devices": DEVICES, "config": {"optim": {"lr": 0.1}}, "started_time_ns": BEGAN_NS}
    made = create_run(tmp_path / "runs", "two <b>ranks</b>", facts)
    writer = EventWriter(made.path, made.run_id, "writer")
    for step, loss in ((1, 2.5), (2, math.nan), (3, math.inf), (4, None)):
        time_ns = BEGAN_NS + step * 10**9
        for rank in (0, 1):
            norm = step + rank / 8
            writer.append("step", time_ns=time_ns, step=step, rank=rank, loss=loss, grad_norm=norm)
        writer.append("sample", time_ns=time_ns + 1, device="GPU-1f2e3d", power_w=300.0 + step)
        writer.append("sample", time_ns=time_ns + 2, device="simulated:gpu", temperature_c=None, power_w=50.0)
        writer.append("metric", time_ns=time_ns + 3, step=step, name="eval/acc 1", value=step / 4)
    alert = {"alert": "spike.grad", "severity": "critical", "step": 3, "onset_time_ns": BEGAN_NS + 3 * 10**9}
    writer.append("alert", time_ns=BEGAN_NS + 4 * 10**9, message='a "quoted", one', **alert)
    writer.append("metric", time_ns=BEGAN_NS + 5 * 10**9, step=4, name="note", text="a text")
    writer.close()
    return made


def alike(found: float, value: float) -> bool:
    return found == value or (math.isnan(found) and math.isnan(value))


def test_tensorboard_has_every_value_at_its_own_time_and_step(run: Run, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # the second takes the first one's place
        (path,) = export_run(run, "tensorboard", tmp_path / "tb")
    assert list((tmp_path / "tb").iterdir()) == [path]
    events = accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    assert set(events.Tags()["scalars"]) == {
        *("train/loss", "train/grad_norm", "rank1/train/loss", "rank1/train/grad_norm"),
        *("gpu3/power_w", "simulated:gpu/power_w", "eval/acc 1"),
    }
    norms = [(e.wall_time, e.step, e.value) for e in events.Scalars("rank1/train/grad_norm")]
    assert norms == [(BEGAN_NS / 1e9 + step, step, step + 0.125) for step in (1, 2, 3, 4)]
    losses = [e.value for e in events.Scalars("train/loss")]
    assert losses[0] == 2.5
    assert math.isnan(losses[1])
    assert losses[2:] == [math.inf]
    assert [(e.step, e.value) for e in events.Scalars("gpu3/power_w")] == [
        (n, 300.0 + n) for n in (1, 2, 3, 4)
    ]
    texts = {
        tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]
    }
    assert texts["alert/spike.grad"] == 'a "quoted", one'
    assert texts["metric/note"] == "a text"
    facts = json.loads(texts["thermograd"])
    assert facts["name"] == "two <b>ranks</b> (simulated)"
    assert facts["optim"] == {"lr": 0.1}
    assert facts["thermograd"]["simulated"] is True


def test_an_offline_run_of_wandb_is_read_back_with_its_times(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (folder,) = export_run(run, "wandb", tmp_path / "out")
    (file,) = folder.glob("*.wandb")
    result = import_run(tmp_path / "again", [file])
    assert result["rows"]["step"] >= 3
    from thermograd.store.log.reader import read_kind

    steps = read_kind(tmp_path / "again" / result["run_id"], "step").to_pylist()
    own = {row["step"]: row for row in steps if row["grad_norm"] is not None}
    assert [own[step]["grad_norm"] for step in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, 4.0]
    assert own[2]["time_ns"] == pytest.approx(BEGAN_NS + 2 * 10**9, abs=1000)
    assert math.isnan(own[2]["loss"])


def test_mlflow_has_every_value_in_its_own_ms(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    store = tmp_path / "ml.db"
    assert export_run(run, "mlflow", store) == [store]
    with pytest.raises(ThermogradError, match="has run .* already, as .*; delete that first"):
        export_run(run, "mlflow", store)
    with sqlite3.connect(store) as database:
        rows = database.execute("SELECT key, value, timestamp, step, is_nan FROM metrics").fetchall()
        (name, status, end), *more = database.execute("SELECT name, status, end_time FROM runs").fetchall()
        params = dict(database.execute("SELECT key, value FROM params").fetchall())
    assert (name, status, end, more) == (
        "two <b>ranks</b> (simulated)",
        "FINISHED",
        BEGAN_NS // 10**6 + 5000,
        [],
    )
    assert params["optim.lr"] == "0.1"
    values = defaultdict(dict)
    for key, value, time_ms, step, is_nan in rows:
        assert time_ms == BEGAN_NS // 10**6 + 1000 * step
        values[key][step] = math.nan if is_nan else value
    assert values["rank1/train/grad_norm"] == {step: step + 0.125 for step in (1, 2, 3, 4)}
    assert values["system/gpu_3_power_usage_watts"] == {step: 300.0 + step for step in (1, 2, 3, 4)}
    assert values["system/simulated:gpu_power_usage_watts"] == dict.fromkeys((1, 2, 3, 4), 50.0)
    assert values["train/loss"].keys() == {1, 2, 3}
    assert math.isnan(values["train/loss"][2])


def test_mlflow_gets_names_that_it_takes_each_its_own_and_nothing_is_left_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    made = create_run(
        tmp_path / "runs", "names", {"devices": {"GPU #0 (left)": {}}, "started_time_ns": BEGAN_NS}
    )
    names = ("acc (%)", "acc (#)", "a", "a/b", "../x", "/abs", "a//b", "..")
    writer = EventWriter(made.path, made.run_id, "writer")
    writer.append("sample", time_ns=BEGAN_NS, device="GPU #0 (left)", power_w=5.0)
    for number, name in enumerate(names):
        writer.append("metric", time_ns=BEGAN_NS, step=1, name=name, value=float(number))
    writer.close()
    with monkeypatch.context() as failing:
        failing.setattr(MlflowClient, "set_terminated", lambda *_, **__: 1 / 0)
        failing.setattr(MlflowClient, "set_tag", lambda *_, **__: 1 / 0)
        with pytest.raises(ThermogradError, match="its library refuses"):
            export_run(made, "mlflow", tmp_path / "ml")
    assert not list((tmp_path / "ml").glob("*/*/metrics"))
    export_run(made, "mlflow", tmp_path / "ml")
    files = [path for path in (tmp_path / "ml").glob("*/*/metrics/**/*") if path.is_file()]
    values = sorted(float(path.read_text().split()[1]) for path in files)
    assert values == sorted([5.0, *map(float, range(len(names)))])


def test_trackio_has_every_value_in_its_own_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio")
    for module in [name for name in sys.modules if name.split(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, module)  # it takes its folder as it is imported
    assert export_run(run, "trackio", tmp_path / "t") == [tmp_path / "t"]
    with pytest.raises(ThermogradError, match="has run .* already; delete it there first"):
        export_run(run, "trackio", tmp_path / "t")
    with sqlite3.connect(tmp_path / "t" / "thermograd.db") as database:
        metrics = database.execute("SELECT timestamp, run_name, step, metrics FROM metrics").fetchall()
        system = database.execute("SELECT timestamp, metrics FROM system_metrics").fetchall()
        alerts = database.execute("SELECT title, text, level, step FROM alerts").fetchall()
    told: list[dict[str, Any]] = [json.loads(row[3]) for row in metrics]
    assert [row["train/grad_norm"] for row in told if "train/grad_norm" in row] == [1.0, 2.0, 3.0, 4.0]
    assert {row[1] for row in metrics} == {"two <b>ranks</b> (simulated)"}
    assert [json.loads(text).get("gpu/3/power") for _, text in system][::2] == [301.0, 302.0, 303.0, 304.0]
    assert system[0][0].startswith("2025-10-29T00:54:23")
    assert alerts == [("spike.grad", 'a "quoted", one', "error", 3)]


def test_a_tracker_that_is_not_installed_is_named_with_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {
        "tensorboard": "tensorboard",
        "wandb": "wandb",
        "mlflow": "mlflow-skinny",
        "trackio": "trackio",
    }
    for name, package in modules.items():
        for module in ("tensorboard.compat.proto.event_pb2", "wandb", "mlflow.tracking", "trackio.utils"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ThermogradError, match=f"pip install {package}$"):
            export_run(run, name, tmp_path / "out" / name)
        left = tmp_path / "out" / name
        assert not left.exists() or not list(left.iterdir())
