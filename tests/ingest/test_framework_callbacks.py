"""Ultralytics' callbacks with a trainer of its shape (the tests do not install it); Accelerate's trackers."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from small_training import loss_of, make_model, norm_of  # noqa: E402
from thermograd.ingest.ultralytics import ThermogradCallback  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.runs.catalogue import list_runs  # noqa: E402
from thermograd.store.runs.own_values.configuration import run_config  # noqa: E402


class Trainer:
    """Trains in the order of Ultralytics' BaseTrainer, 8.4: two batches a step, clipped at 10."""

    def __init__(self):
        self.args = SimpleNamespace(name="yolo", lr0=0.01)
        self.model, self.train_loader, self.metrics = make_model(), range(4), {}
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.callbacks = {}

    def add_callback(self, event, function):
        self.callbacks.setdefault(event, []).append(function)

    def run_callbacks(self, event):
        for function in self.callbacks.get(event, ()):
            function(self)

    def label_loss_items(self, loss, prefix):
        return {f"{prefix}/box_loss": loss}

    def train(self, epochs):
        self.told = []
        self.run_callbacks("on_train_start")
        for self.epoch in range(epochs):
            self.run_callbacks("on_train_epoch_start")
            for batch in self.train_loader:
                self.run_callbacks("on_train_batch_start")
                loss = loss_of(self.model, seed=10 * self.epoch + batch)
                loss.backward()
                self.tloss = loss.item()
                if batch % 2:
                    self.told.append(norm_of(*self.model.parameters()))
                    torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
            self.metrics = {"metrics/mAP50": 0.25 * self.epoch}
            self.run_callbacks("on_model_save")
            self.run_callbacks("on_fit_epoch_end")
        self.run_callbacks("on_train_end")
        self.run_callbacks("on_fit_epoch_end")  # once more, of the best weights


def test_a_training_of_ultralytics_is_recorded_step_by_step_with_its_epochs(tmp_path):
    trainer = Trainer()
    ThermogradCallback(runs=tmp_path).add_to(trainer)
    trainer.train(2)
    (run,) = list_runs(tmp_path)
    assert run.facts["name"] == "yolo"
    rows = read_kind(run.path, "step").to_pylist()
    assert [(row["step"], row["epoch"]) for row in rows] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert [row["grad_norm"] for row in rows] == pytest.approx(trainer.told, rel=1e-6)
    assert {row["max_grad_norm"] for row in rows} == {10.0}
    metrics = [(m["step"], m["name"], m["value"]) for m in read_kind(run.path, "metric").to_pylist()]
    assert [m for m in metrics if m[1] == "metrics/mAP50"] == [
        (2, "metrics/mAP50", 0.0),
        (4, "metrics/mAP50", 0.25),
    ]
    marks = [(m["mark"], m["step"]) for m in read_kind(run.path, "mark").to_pylist()]
    assert [m for m in marks if m[0] in ("evaluation", "checkpoint")] == [
        *(("checkpoint", 2), ("evaluation", 2), ("checkpoint", 4), ("evaluation", 4)),
    ]
    assert marks[-1][0] == "run_ended"
    assert run_config(run)["lr0"] == 0.01


def test_a_loop_of_accelerate_is_recorded_by_its_tracker(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    from thermograd.ingest.accelerate import ThermogradTracker

    accelerator = accelerate.Accelerator(cpu=True, log_with=ThermogradTracker("loop", runs=tmp_path))
    accelerator.init_trackers("project", config={"lr": 0.01})
    model = make_model()
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01))
    told = []
    for step in range(1, 4):
        accelerator.backward(loss_of(model, seed=step))
        told.append(float(accelerator.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"accuracy": step / 4}, step=step)
    accelerator.end_training()
    (run,) = list_runs(tmp_path)
    rows = read_kind(run.path, "step").to_pylist()
    assert [(row["step"], row["grad_norm"], row["max_grad_norm"]) for row in rows] == [
        (n + 1, pytest.approx(norm, rel=1e-6), 0.5) for n, norm in enumerate(told)
    ]
    metrics = read_kind(run.path, "metric").to_pylist()
    assert [(m["step"], m["value"]) for m in metrics] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert run_config(run)["lr"] == 0.01
    assert run.end().state == "finished"
