import math
import sys
import time
from collections import Counter
from types import SimpleNamespace

import pytest
import thermograd

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

from thermograd.ingest.huggingface import ThermogradCallback  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.runs.catalogue import find_run, list_runs  # noqa: E402
from thermograd.store.runs.ends import RunEnd  # noqa: E402


class Data(torch.utils.data.Dataset):
    def __init__(self, spoilt=()):
        self.spoilt = spoilt

    def __len__(self):
        return 400

    def __getitem__(self, i):
        x = torch.sin(torch.arange(6.0) * (i + 1))
        return {"x": x * math.nan if i in self.spoilt else x * 5, "labels": x.sum()}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def forward(self, x, labels):
        return {"loss": ((self.layers(x).squeeze(-1) - labels) ** 2).mean()}


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that trains with given arguments and gives back (log history, steps)."""
    monkeypatch.setenv("THERMOGRAD_RUNS", str(tmp_path / "runs"))

    def run(data=None, callback=None, **arguments):
        defaults = {
            "max_steps": 12,
            "per_device_train_batch_size": 4,
            "logging_steps": 4,
            "save_strategy": "no",
        }
        trainer = transformers.Trainer(
            model=Model(),
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"),
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
                **defaults | arguments,
            ),
            train_dataset=data or Data(),
            eval_dataset=Data(),
            callbacks=[callback or ThermogradCallback(name="t")],
        )
        monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        steps = read_kind(find_run(tmp_path / "runs", "latest").path, "step").to_pylist()
        return trainer.state.log_history, steps

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_grad_norm": 0.5},
        {"max_grad_norm": 0.5, "gradient_accumulation_steps": 2},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": 1.0, "logging_steps": 50, "max_steps": 100},
        {"max_grad_norm": 1.0, "logging_steps": 50, "max_steps": 100, "gradient_accumulation_steps": 2},
    ],
)
def test_every_norm_equals_the_trainers_to_all_digits(train, arguments):
    history, steps = train(**arguments)
    logged = {entry["step"]: entry for entry in history if "grad_norm" in entry}
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == arguments.get("max_steps", 12)
    assert len(logged) >= 2
    for step, entry in logged.items():
        assert steps[step - 1]["grad_norm"] == entry["grad_norm"]
        assert steps[step - 1]["learning_rate"] == entry["learning_rate"]
        assert steps[step - 1]["epoch"] == pytest.approx(entry["epoch"])
    assert {s["max_grad_norm"] for s in steps} == {arguments["max_grad_norm"] or None}


def test_the_loss_is_each_steps_own_where_the_trainer_logs_a_mean(train):
    history, steps = train(gradient_accumulation_steps=2)
    for entry in history:
        if "loss" in entry:
            own = [s["loss"] for s in steps[entry["step"] - 4 : entry["step"]]]
            assert entry["loss"] == pytest.approx(sum(own) / 4, rel=1e-5)


def test_a_nan_that_the_trainers_filter_hides_is_seen(train):
    history, steps = train(data=Data(spoilt=range(400)), logging_steps=1, max_steps=3)
    assert all(math.isfinite(entry["loss"]) for entry in history if "loss" in entry)
    assert all(math.isnan(s["loss"]) and math.isnan(s["grad_norm"]) for s in steps)


def test_checkpoints_and_evaluations_are_marked_and_not_part_of_a_steps_time(train, tmp_path, monkeypatch):
    """An evaluation takes an hour, on a clock of our own."""
    evaluate, passed_ns = transformers.Trainer._evaluate, [0]
    clock = SimpleNamespace(time_ns=time.time_ns, monotonic_ns=lambda: time.monotonic_ns() + passed_ns[0])
    monkeypatch.setattr("thermograd.ingest.capture.tap.time", clock)

    def slow(*args, **kwargs):
        passed_ns[0] += 3600 * 10**9
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(transformers.Trainer, "_evaluate", slow)
    _, steps = train(save_strategy="steps", save_steps=5, eval_strategy="steps", eval_steps=5)
    marks = read_kind(find_run(tmp_path / "runs", "latest").path, "mark").to_pylist()
    assert [m["mark"] for m in marks] == [
        "run_started",
        "evaluation",
        "checkpoint",
        "evaluation",
        "checkpoint",
        "evaluation",
        "checkpoint",
        "run_ended",
    ]
    assert [m["step"] for m in marks if m["mark"] == "checkpoint"] == [5, 10, 12]
    assert steps[5]["step_time_s"] < 1800
    assert all(s["step_time_s"] is not None for s in steps)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_norm_and_loss_equal_their_definitions_at_every_step(train, monkeypatch, bound, accumulate):
    expected, losses = [], []
    clip, step = accelerate.Accelerator.clip_grad_norm_, transformers.Trainer.training_step

    def measured(self, parameters, *args, **kwargs):
        parameters = list(parameters)
        squares = sum(float((p.grad.double() ** 2).sum()) for p in parameters)
        expected.append((pytest.approx(sum(losses), rel=1e-6), pytest.approx(math.sqrt(squares), rel=1e-6)))
        losses.clear()
        return clip(self, parameters, *args, **kwargs)

    def remembered(self, *args, **kwargs):
        loss = step(self, *args, **kwargs)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(accelerate.Accelerator, "clip_grad_norm_", measured)
    monkeypatch.setattr(transformers.Trainer, "training_step", remembered)
    _, steps = train(
        max_grad_norm=bound, gradient_accumulation_steps=accumulate, logging_steps=50, max_steps=6
    )
    assert len(expected) == 6
    assert [(s["loss"], s["grad_norm"]) for s in steps] == expected


def alarmed(**options):
    """Return a callback whose run hears an alert at the third and at the fourth step."""

    class Alarmed(ThermogradCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            super().on_step_begin(args, state, control, **kwargs)
            if state.global_step in (2, 3):
                self.run.alert_tasks({"alert": "spike.grad", "severity": "warning"})

    return Alarmed(name="t", **options)


def test_an_alert_makes_the_trainer_save_once_at_the_end_of_the_step(train, tmp_path):
    train(callback=alarmed(on_alert="checkpoint"))
    marks = read_kind(find_run(tmp_path / "runs", "latest").path, "mark").to_pylist()
    assert [(m["mark"], m["step"]) for m in marks[1:-1]] == [("note", 3), ("checkpoint", 3)]
    assert marks[1]["text"] == "a checkpoint, because of spike.grad"
    assert (tmp_path / "out" / "checkpoint-3").is_dir()


def test_an_alert_calls_what_the_user_gave_and_saves_nothing_by_itself(train, tmp_path):
    heard = []
    train(callback=alarmed(on_alert=heard.append))
    assert [alert["alert"] for alert in heard] == ["spike.grad"] * 2
    assert not (tmp_path / "out" / "checkpoint-3").exists()


def test_an_answer_to_alerts_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="on_alert is 'restart'; allowed: None, 'checkpoint', or a callable"):
        ThermogradCallback(on_alert="restart")
    with pytest.raises(ValueError, match="hz is 50"):
        ThermogradCallback(hz=50)


def test_a_fault_of_the_callback_does_not_end_the_training(train, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("thermograd.ingest.callback.start_run", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("thermograd.ingest.callback.harmless._counts", Counter())
    callback = ThermogradCallback(name="t")
    with pytest.raises(Exception, match="no run"):
        train(callback=callback, max_steps=3)
    assert caplog.text.count("training goes on") == 2  # at the beginning, and once for all steps


class Bad(Data):
    def __getitem__(self, i):
        if len(self.spoilt) == 20:
            raise ValueError(f"no item {'x' * 100_000}")
        self.spoilt.append(i)
        return super().__getitem__(-1)


def runs_of(tmp_path):
    return [run.end() for run in list_runs(tmp_path / "runs")]


@pytest.fixture
def unheard(monkeypatch):
    """Have a `Trainer` whose `train` we do not overhear, as of a subclass that has one of its own."""
    whole = getattr(transformers.Trainer.train, "__wrapped__", transformers.Trainer.train)
    monkeypatch.setattr("thermograd.ingest.huggingface._hear_of_failures", lambda: None)
    monkeypatch.setattr(transformers.Trainer, "train", whole)


def test_a_training_that_raises_has_failed_at_once_and_the_traceback_is_as_without_us(train, tmp_path):
    traces = []
    for callback in (ThermogradCallback(), transformers.TrainerCallback()):
        with pytest.raises(ValueError, match="no item") as raised:
            train(Bad([]), callback)
        traces.append([(entry.path, entry.lineno) for entry in raised.traceback][1:])
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None
    assert traces[0] == traces[1]
    assert getattr(callback, "run", None) is None
    [end] = runs_of(tmp_path)
    assert end.state == "failed"
    assert end.reason.startswith("ValueError: no item xxx")


def test_ctrl_c_in_a_training_interrupts_its_run(train, tmp_path):
    class Interrupting(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise KeyboardInterrupt

    callback = type("Both", (Interrupting, ThermogradCallback), {})()
    with pytest.raises(KeyboardInterrupt):
        train(None, callback)
    assert [end.state for end in runs_of(tmp_path)] == ["interrupted"]


@pytest.mark.parametrize(("again", "state"), [(False, "failed"), (True, "finished")])
def test_a_failed_training_fails_the_scripts_own_run_unless_another_begins(train, tmp_path, again, state):
    with thermograd.start_run("own", tmp_path / "runs", agent=False) as run:
        with pytest.raises(ValueError, match="no item"):
            train(Bad([]))
        assert run.is_open
        if again:
            train(max_steps=2)
    assert [end.state for end in runs_of(tmp_path)] == [state]


def test_a_fault_of_ours_while_a_training_fails_leaves_its_exception(train, monkeypatch, caplog):
    monkeypatch.setattr("thermograd.ingest.callback.TrainerRun.fail", lambda *_: 1 / 0)
    monkeypatch.setattr("thermograd.ingest.callback.harmless._counts", Counter())
    callback = ThermogradCallback()
    with pytest.raises(ValueError, match="no item"):
        train(Bad([]), callback)
    assert "training goes on" in caplog.text
    callback.run.close()


@pytest.mark.usefixtures("unheard")
def test_a_training_that_raised_has_failed_when_the_next_one_begins(train, tmp_path):
    callback = ThermogradCallback()
    with pytest.raises(ValueError, match="no item"):
        train(Bad([]), callback)
    train(None, callback)
    first, second = runs_of(tmp_path)
    assert (first.state, second) == ("failed", RunEnd("finished"))
    assert first.reason == "TrainingEndedEarly: the Trainer did not tell why; another training began"


@pytest.mark.usefixtures("unheard")
def test_in_a_notebook_the_cell_that_raised_ends_the_run(train, tmp_path, monkeypatch):
    events = SimpleNamespace(heard=[])
    events.register = lambda name, call: events.heard.append(call)
    events.unregister = lambda name, call: events.heard.remove(call)
    shell = SimpleNamespace(events=events)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    callback = ThermogradCallback()
    with pytest.raises(ValueError, match="no item") as raised:
        train(Bad([]), callback)
    assert [end.state for end in runs_of(tmp_path)] == ["live"]
    [after] = events.heard
    after(SimpleNamespace(error_in_exec=raised.value))
    assert (events.heard, callback.run) == ([], None)
    [end] = runs_of(tmp_path)
    assert (end.state, len(end.reason)) == ("failed", 300)
    assert end.reason.startswith("ValueError: no item xxx")


def test_a_training_that_cannot_be_described_is_recorded_all_the_same(train, monkeypatch, caplog):
    monkeypatch.setattr("thermograd.ingest.huggingface._job_facts", lambda *_: 1 / 0)
    _, steps = train(callback=ThermogradCallback(name="t"), max_steps=3)
    assert len(steps) == 3
    assert "cannot describe this training" in caplog.text
