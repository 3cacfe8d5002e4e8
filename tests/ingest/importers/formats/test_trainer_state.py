"""The Hugging Face Trainer's state, which has no clock."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused, written
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.ingest.importers.recording import Hints
from thermograd.store.runs.describe import describe_run, run_facts_shown

START = Hints(started_at="2026-11-24T10:00:00Z")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Trainer's own trainer_state.json and TensorBoard events of one training."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("trained")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": ((self.layer(x).squeeze(-1) - labels) ** 2).mean()}

    data = [{"x": torch.full((4,), float(i)), "labels": torch.tensor(float(i))} for i in range(8)]
    previous = os.environ.get("TENSORBOARD_LOGGING_DIR")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)
    try:
        trainer = transformers.Trainer(
            model=Model(),
            args=transformers.TrainingArguments(
                output_dir=str(folder),
                max_steps=4,
                logging_steps=1,
                per_device_train_batch_size=2,
                use_cpu=True,
                report_to=["tensorboard"],
                disable_tqdm=True,
                save_strategy="no",
                dataloader_pin_memory=False,
            ),
            train_dataset=data,
        )
        trainer.train()
        trainer.save_state()
    finally:
        os.environ.pop("TENSORBOARD_LOGGING_DIR")
        if previous is not None:
            os.environ["TENSORBOARD_LOGGING_DIR"] = previous
    return folder


def history(folder: Path) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return log


def test_the_trainers_folder_gives_steps_with_tensorboards_times(trained: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, trained)
    assert any(
        text.startswith("trainer_state.json: steps without times; they are taken from events.out")
        for text in found.result["ignored"]
    )
    steps, logged = found.rows("step"), [entry for entry in history(trained) if "loss" in entry]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    for name in ("loss", "grad_norm", "learning_rate", "epoch"):
        assert [row[name] for row in steps] == pytest.approx([entry[name] for entry in logged], rel=1e-6)
    assert found.run.facts["import"]["step_times_estimated"] is None


def test_a_trainer_state_alone_is_refused_as_it_has_no_clock(trained: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, trained / "trainer_state.json")
    assert "has steps but no times, so it is no time series; give --started-at TIME" in message
    assert "TensorBoard" in message


def test_a_trainer_state_with_a_start_has_estimated_times_and_says_so(trained: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, trained / "trainer_state.json", hints=START)
    summary = history(trained)[-1]
    steps = found.rows("step")
    logged = [entry for entry in history(trained) if "loss" in entry]
    assert [row["loss"] for row in steps] == [entry["loss"] for entry in logged]
    ended = steps[-1]["time_ns"] - 1795514400 * 10**9
    assert ended == pytest.approx(summary["train_runtime"] * 1e9, abs=10)
    assert "step log estimated: --started-at 2026-11-24T10:00:00Z plus" in found.result["timezone"]
    assert f"train_runtime, {summary['train_runtime']:g} s, over 4 steps" in found.result["timezone"]
    assert found.run.facts["clock"].startswith("imported, wall time only, step times estimated: --started-at")
    assert found.result["left_out"] == {}
    metrics = {row["name"]: row["value"] for row in found.rows("metric") if row["step"] == summary["step"]}
    assert metrics.items() >= {name: summary[name] for name in ("train_runtime", "train_loss")}.items()


def test_show_and_the_report_warn_of_estimated_times(tmp_path: Path) -> None:
    log = [{"step": step, "loss": 1.0 / step, "grad_norm": 1.0} for step in range(1, 101)]
    state = written(tmp_path / "a/trainer_state.json", json.dumps({"log_history": log}))
    rows = [f"2026-11-24T10:{s // 60:02}:{s % 60:02}Z,gpu,{40 + s % 7},{s % 50}" for s in range(100)]
    written(tmp_path / "a/log.csv", "timestamp,device,temp_c,util_pct\n" + "\n".join(rows) + "\n")
    run = imported(tmp_path, state.parent, hints=START._replace(step_time_s=1.0)).run
    (warning,) = [text for text in analyze_run(run).to_json()["warnings"] if "estimated" in text]
    assert warning.startswith(
        "The times of the steps are estimated: --started-at 2026-11-24T10:00:00Z plus 1 s"
    )
    assert "step times estimated" in describe_run(run_facts_shown(run))
    write_report(run, analyze_run(run), tmp_path / "report")
    page = (tmp_path / "report/report.html").read_text()
    assert "estimated: --started-at 2026-11-24T10:00:00Z plus 1 s a step" in page


def _state(losses: list[float], every: int, *summaries: dict[str, Any]) -> str:
    log: list[dict[str, Any]] = [{"step": every * n, "loss": loss} for n, loss in enumerate(losses, start=1)]
    return json.dumps({"log_history": [*log, *summaries]})


def _summary(step: int, **values: float) -> dict[str, Any]:
    return {"step": step, "train_runtime": 20.0, "train_samples_per_second": 4.0} | values


_LOSSES = [2.0 - n / 10 for n in range(1, 11)]


@pytest.mark.parametrize("resumed_at", [100, 500, 800, 900])
def test_the_runtime_of_a_resumed_training_is_not_that_of_all_its_steps(
    tmp_path: Path, resumed_at: int
) -> None:
    """The Trainer divides the losses of the last session by the number of all steps."""
    session = sum(100 * loss for n, loss in enumerate(_LOSSES) if 100 * n >= resumed_at)
    text = _state(_LOSSES, 100, _summary(1000, train_loss=session / 1000))
    path = written(tmp_path / "trainer_state.json", text)
    message = refused(tmp_path, path, hints=START)
    assert (
        f"is that of the last session, which went on from a checkpoint (train_loss x steps is {session:.4g}"
        in message
    )
    assert (
        "the logged losses add up to 1450), so it does not tell what a step took; give --step-time" in message
    )
    rows = imported(tmp_path, path, hints=START._replace(step_time_s=0.2)).rows("step")
    assert rows[1]["time_ns"] - rows[0]["time_ns"] == 20 * 10**9


@pytest.mark.parametrize(
    ("summaries", "reason"),
    [
        (
            [_summary(500, train_loss=1.75), _summary(1000, train_loss=1.45)],
            "is not the only one (2 are in it)",
        ),
        ([_summary(1000)], "may not be the only one (no train_loss and losses from 0 show that)"),
        ([_summary(1000, train_loss=math.nan)], "train_loss is not finite"),
        ([_summary(1000, train_loss=math.inf)], "train_loss is not finite"),
        ([{"step": 1100, "loss": "nan"}, _summary(1100, train_loss=2.0)], "a logged loss is not finite"),
    ],
)
def test_a_runtime_that_may_be_of_a_part_is_refused(
    tmp_path: Path, summaries: list[dict[str, Any]], reason: str
) -> None:
    path = written(tmp_path / "trainer_state.json", _state(_LOSSES, 100, *summaries))
    assert reason in refused(tmp_path, path, hints=START)


@pytest.mark.parametrize("steps", [1000, 1040])
def test_the_runtime_of_one_session_is_that_of_all_its_steps(tmp_path: Path, steps: int) -> None:
    """Steps after the last entry are in train_loss, but in no entry; losses are rounded to four decimals."""
    mean = (sum(100 * loss for loss in _LOSSES) + (steps - 1000) * 0.9) / steps
    text = _state([round(loss, 4) for loss in _LOSSES], 100, _summary(steps, train_loss=mean))
    found = imported(tmp_path, written(tmp_path / "trainer_state.json", text), hints=START)
    assert (
        f"plus {20 / steps:.6g} s a step (train_runtime, 20 s, over {steps} steps)"
        in found.result["timezone"]
    )


def test_a_step_time_can_be_given_for_a_checkpoints_state(tmp_path: Path) -> None:
    state = {"global_step": 2, "log_history": [{"step": 10, "loss": 1.0}, {"step": 20, "loss": math.nan}]}
    path = written(tmp_path / "trainer_state.json", json.dumps(state))
    assert "there is no train_runtime in it" in refused(tmp_path, path, hints=START)
    found = imported(tmp_path, path, hints=START._replace(step_time_s=0.5))
    first, second = found.rows("step")
    assert first["time_ns"] == (1795514400 + 5) * 10**9
    assert second["time_ns"] - first["time_ns"] == 5 * 10**9
    assert math.isnan(second["loss"])


def test_a_start_without_a_zone_needs_one(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", '{"log_history": [{"step": 1, "loss": 2.0}]}')
    naive = Hints("2026-11-24T10:00:00", 1.0)
    assert "(--started-at) name no zone" in refused(tmp_path, path, hints=naive)
    found = imported(tmp_path, path, hints=naive, timezone="+01:00")
    assert found.rows("step")[0]["time_ns"] == (1795514400 - 3600 + 1) * 10**9


@pytest.mark.parametrize(
    ("content", "hints", "sentence"),
    [
        (
            '{"log_history": []}',
            START._replace(step_time_s=math.inf),
            "--step-time inf is no number of seconds",
        ),
        (
            '{"log_history": []}',
            START._replace(step_time_s=math.nan),
            "--step-time nan is no number of seconds",
        ),
        (
            '{"log_history": [{"step": 9, "loss": 1}]}',
            START._replace(step_time_s=1e300),
            "not between 1970 and",
        ),
        (
            '{"log_history": [{"step": 9007199254740992, "loss": 1}]}',
            START._replace(step_time_s=1),
            "not betw",
        ),
        ('{"log_history": [{"step": 1, "train_runtime": 1HUGE}]}', START, "there is no train_runtime"),
        ('{"log_history": [{"step": 1, "loss": 1HUGE, "train_runtime": 1}]}', START, "of the last session"),
        ('{"log_history": [{"step": 1}]}', START._replace(step_time_s=1), "no usable row in this step log"),
        ('{"log_history": [3, {"step": -1}]}', START._replace(step_time_s=1), "1 x torn row: an entry that"),
        ('{"log_history": [', START, "broken JSON"),
        ('{"log_history": []}', Hints("noon", 1.0), "--started-at 'noon' is no time"),
    ],
)
def test_a_trainer_state_of_no_use_is_refused(
    tmp_path: Path, content: str, hints: Hints, sentence: str
) -> None:
    path = written(tmp_path / "s.json", content.replace("HUGE", "0" * 400))
    assert sentence in refused(tmp_path, path, hints=hints)


def test_a_start_for_a_log_with_times_is_refused(tmp_path: Path, data: Path) -> None:
    assert "--started-at is for a step log without times, but step_log.json has times of its own" in refused(
        tmp_path, data / "pair", hints=START
    )
    device_log = data / "torn_monitor.csv"
    assert "but torn_monitor.csv has times of its own" in refused(tmp_path, device_log, hints=START)
