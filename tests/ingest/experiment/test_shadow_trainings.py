"""Shadow steps by the conductor, in a Trainer: the training as without, and what the log says of them."""

import math

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from thermograd.ingest.huggingface import ThermogradCallback  # noqa: E402
from thermograd.store.experiment.marks import read_experiments  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.runs.catalogue import find_run  # noqa: E402

SHADOW = {"arm": "shadow", "shapes": "zeros,noise,token", "seed": 5, "start_step": 8}
SHADOW |= {"bin_steps": 1, "stratum_bins": 3, "lag_bins": 1}


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 400

    def __getitem__(self, i):
        return {"x": torch.sin(torch.arange(6.0) * (i + 1)), "labels": torch.tensor(math.cos(i))}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        middle = [torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Dropout(0.3)]
        self.layers = torch.nn.Sequential(*middle, torch.nn.Linear(8, 1))

    def forward(self, x, labels):
        return {"loss": ((self.layers(x).squeeze(-1) - labels) ** 2).mean()}


def train(tmp_path, experiment):
    trainer = transformers.Trainer(
        model=Model(),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=24,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            bf16=True,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Data(),
        callbacks=[ThermogradCallback(name="t", runs=tmp_path / "runs", experiment=experiment)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    logged = [(entry.get("loss"), entry.get("grad_norm")) for entry in trainer.state.log_history]
    weights = [(name, value.tolist()) for name, value in trainer.model.state_dict().items()]
    run = find_run(tmp_path / "runs", "latest").path
    steps = [(s["step"], s["loss"], s["grad_norm"]) for s in read_kind(run, "step").to_pylist()]
    return (logged, weights, steps), read_kind(run, "mark").to_pylist()


def test_a_trainer_is_the_same_to_the_last_bit_and_the_log_has_what_the_seed_draws(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    without, _ = train(tmp_path / "without", None)
    pulsed, marks = train(tmp_path / "pulsed", SHADOW)
    assert pulsed == without
    assert [step for step, _, _ in pulsed[2]] == list(range(1, 25))
    [recorded] = read_experiments(marks)
    assert (recorded.faults, recorded.failures[1:]) == ([], [])
    applied = [recorded.applied[index] for index in range(5)]
    assert [a.detail["shape"] for a in applied] == [recorded.schedule.assignment(i).kind for i in range(5)]
    assert {(a.steps, a.failed, a.detail["passes"]) for a in applied} == {(1, None, 1)}
    assert any("nothing of the training was changed by a trial" in (mark["text"] or "") for mark in marks)
