"""The Lightning callback, under both names of the package."""

import json
import math
import pickle
import time
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")

from thermograd.ingest.lightning import ThermogradCallback  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.runs.catalogue import list_runs  # noqa: E402
from thermograd.store.runs.ends import RunEnd  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own, of many kinds


def data(batches=6):
    generator = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(torch.randn(4 * batches, 8, generator=generator), batch_size=4)


def make_module(package=lightning, manual=False, spoilt=()):
    class Module(package.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
            self.automatic_optimization = not manual
            self.seen = []

        def configure_optimizers(self):
            if manual:
                return [torch.optim.SGD(self.net[i].parameters(), lr=0.1 + i) for i in (0, 2)]
            return torch.optim.AdamW(self.parameters(), lr=0.01)

        def training_step(self, batch, index):
            loss = (self.net(batch) ** 2).mean() * (math.inf if index in spoilt else 50)
            if not manual:
                return loss
            for optimizer, part in zip(self.optimizers(), (self.net[0], self.net[2]), strict=True):
                optimizer.zero_grad()
                loss = (self.net(batch) ** 2).mean()
                self.manual_backward(loss)
                self.remember(part.parameters(), loss)
                optimizer.step()
            return None

        def on_after_backward(self):
            if not manual:
                self.remember(self.parameters(), None)

        def remember(self, parameters, loss):
            squares = sum(float((p.grad.double() ** 2).sum()) for p in parameters if p.grad is not None)
            self.seen.append((None if loss is None else loss.item(), math.sqrt(squares)))

        def validation_step(self, batch, index):
            self.log("val_loss", (self.net(batch) ** 2).mean())

    return Module()


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Return a function that trains and gives back (module, steps, marks, run)."""
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)

    def run(module=None, package=lightning, callback=None, **options):
        defaults = {"max_epochs": 1, "enable_checkpointing": False}
        trainer = package.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[callback or ThermogradCallback(runs=tmp_path / "runs")],
            **defaults | options,
        )
        module = module or make_module(package)
        trainer.fit(module, data(), data(1))
        found = list_runs(tmp_path / "runs")[-1]
        return (
            module,
            read_kind(found.path, "step").to_pylist(),
            read_kind(found.path, "mark").to_pylist(),
            found,
        )

    return run


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_automatic_optimisation_gives_the_norm_of_the_step_not_of_the_batch_before(fit, clip, accumulate):
    module, steps, _, run = fit(gradient_clip_val=clip, accumulate_grad_batches=accumulate, max_epochs=2)
    expected = [norm for _, norm in module.seen[accumulate - 1 :: accumulate]]
    assert len(expected) == 12 // accumulate
    assert [s["grad_norm"] for s in steps] == [pytest.approx(norm, rel=1e-6) for norm in expected]
    assert {s["max_grad_norm"] for s in steps} == {clip}
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert [s["epoch"] for s in steps] == pytest.approx([(i + 1) * accumulate / 6 for i in range(len(steps))])
    assert run.facts["training_arguments"]["accumulate_grad_batches"] == accumulate
    assert run.facts["model"] == {"class": "Module", "parameters": 8 * 16 + 16 + 16 + 1}


def test_the_loss_is_the_mean_over_accumulated_batches_as_lightning_trains_on_it(fit):
    _, steps, _, _ = fit(accumulate_grad_batches=3, limit_train_batches=3)
    fresh = make_module()
    losses = [(fresh.net(batch) ** 2).mean().item() * 50 for batch in list(data())[:3]]
    assert steps[0]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)


def test_manual_optimisation_with_two_optimizers_keeps_them_apart(fit):
    module, steps, _, _ = fit(make_module(manual=True))
    assert [(s["loss"], s["grad_norm"]) for s in steps] == [
        (pytest.approx(loss, rel=1e-6), pytest.approx(norm, rel=1e-6)) for loss, norm in module.seen
    ]
    assert [s["learning_rate"] for s in steps] == [0.1, 2.1] * 6


def test_both_names_of_the_package_take_the_callback(fit):
    other = pytest.importorskip("pytorch_lightning")
    callback = ThermogradCallback("x")
    assert isinstance(callback, lightning.Callback)
    assert isinstance(callback, other.Callback)
    module, steps, _, _ = fit(package=other)
    assert len(steps) == len(module.seen) == 6


def test_evaluations_and_checkpoints_are_marked_and_not_part_of_a_steps_time(fit, monkeypatch):
    """A validation takes an hour, on a clock of our own."""
    passed_ns = [0]
    clock = SimpleNamespace(time_ns=time.time_ns, monotonic_ns=lambda: time.monotonic_ns() + passed_ns[0])
    monkeypatch.setattr("thermograd.ingest.capture.tap.time", clock)

    def slow(self, batch, index):
        passed_ns[0] += 3600 * 10**9

    module = make_module()
    monkeypatch.setattr(type(module), "validation_step", slow)
    _, steps, marks, _ = fit(module, val_check_interval=3, enable_checkpointing=True)
    names = [m["mark"] for m in marks]
    assert names[0] == "run_started"
    assert names.count("evaluation") == 2
    assert names.count("checkpoint") >= 1
    assert all(s["step_time_s"] < 1800 for s in steps)


def test_metrics_of_an_evaluation_are_kept(fit):
    _, _, marks, _ = fit()
    [evaluation] = [m for m in marks if m["mark"] == "evaluation"]
    assert json.loads(evaluation["detail"])["metrics"]["val_loss"] > 0
    assert evaluation["step"] == 6


def test_an_exception_in_the_training_ends_the_run_with_an_error_mark(fit, tmp_path):
    module = make_module()

    def broken(batch, batch_idx):
        raise KeyError("the user's own")

    module.training_step = broken
    with pytest.raises(KeyError):
        fit(module)
    [run] = list_runs(tmp_path / "runs")
    marks = read_kind(run.path, "mark").to_pylist()
    assert any(m["mark"] == "error" and "KeyError" in m["text"] for m in marks)
    assert run.end() == RunEnd("failed", 'KeyError: "the user\'s own"')


def test_an_alert_makes_lightning_save_once_at_the_end_of_the_batch(fit, tmp_path):
    class Alarmed(ThermogradCallback):
        pass

    callback = ThermogradCallback(runs=tmp_path / "runs", on_alert="checkpoint")
    inner = type(callback).on_train_batch_start

    def alarmed(self, trainer, module, batch, index):
        inner(self, trainer, module, batch, index)
        if index in (2, 3):
            self.run.alert_tasks({"alert": "spike.grad", "severity": "warning"})

    callback.on_train_batch_start = alarmed.__get__(callback)
    _, _, marks, _ = fit(callback=callback)
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["thermograd-step=3.ckpt"]
    assert [(m["mark"], m["step"]) for m in marks if m["mark"] in ("note", "checkpoint")] == [
        ("note", 3),
        ("checkpoint", 3),
    ]


def test_the_callback_survives_being_pickled_for_spawned_processes():
    again = pickle.loads(pickle.dumps(ThermogradCallback("x", hz=2.0)))
    assert isinstance(again, ThermogradCallback)
    assert again._arguments == {"name": "x", "runs": None, "hz": 2.0}


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    from thermograd.ingest import lightning as module
    from thermograd.store.errors import MissingExtraError

    monkeypatch.setattr(module, "_PACKAGES", ("no_such_lightning",))
    with pytest.raises(MissingExtraError, match=r"install thermograd\[lightning\]"):
        ThermogradCallback()
