"""What the callbacks of the frameworks record besides the steps: metrics, and the configuration."""

import json
import math

import pytest

torch = pytest.importorskip("torch")

from thermograd.store.log.reader import read_kind  # noqa: E402
from thermograd.store.query import query  # noqa: E402
from thermograd.store.runs.catalogue import list_runs  # noqa: E402
from thermograd.store.runs.own_values.configuration import run_config  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own


@pytest.fixture(autouse=True)
def no_agent(monkeypatch):
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)


def logged(run):
    return [(row["step"], row["name"], row["value"]) for row in read_kind(run.path, "metric").to_pylist()]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        return {"loss": ((self.layer(x).squeeze(-1) - labels) ** 2).mean(), "logits": labels}


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return {"x": torch.full((4,), i / 64), "labels": torch.tensor(float(i % 3))}


@pytest.fixture
def trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from thermograd.ingest.huggingface import ThermogradCallback

    def make(run=None, kind=transformers.Trainer, **arguments):
        defaults = {"max_steps": 8, "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 4}
        return kind(
            model=Model(),
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"),
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                save_strategy="no",
                hub_token="hf_secret",
                **defaults | arguments,
            ),
            train_dataset=Data(),
            eval_dataset=Data(),
            callbacks=[ThermogradCallback(name="t", runs=tmp_path / "runs", run=run)],
        )

    return make


def test_a_trainer_records_evaluations_and_its_summary_as_metrics(trainer, tmp_path):
    made = trainer()
    made.train()
    (run,) = list_runs(tmp_path / "runs")
    expected = [
        (entry["step"], name, value)
        for entry in made.state.log_history
        for name, value in entry.items()
        if name not in ("step", "loss", "grad_norm", "learning_rate", "epoch")
    ]
    assert logged(run) == expected
    assert [step for step, name, _ in expected if name == "eval_loss"] == [4, 8]
    assert "train_runtime" in {name for _, name, _ in expected}


def test_what_a_trainer_logs_of_its_own_and_metrics_that_it_does_not_log_are_there(trainer, tmp_path):
    import transformers

    class Own(transformers.Trainer):
        def compute_loss(self, *args, **kwargs):
            self.log({"mine": 0.5})
            return super().compute_loss(*args, **kwargs)

        def evaluate(self, *args, **kwargs):
            metrics = {"eval_quiet": 1.5}
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    trainer(kind=Own).train()
    (run,) = list_runs(tmp_path / "runs")
    assert [value for _, name, value in logged(run) if name == "eval_quiet"] == [1.5, 1.5]
    assert [step for step, name, _ in logged(run) if name == "mine"][:3] == [0, 1, 2]


def test_a_trainers_arguments_are_the_configuration_without_its_token(trainer, tmp_path, caplog):
    made = trainer(learning_rate=3e-4)
    made.train()
    (run,) = list_runs(tmp_path / "runs")
    config = run.facts["config"]
    assert set(made.args.to_dict()) == set(config)
    assert config["learning_rate"] == 3e-4
    assert "hf_secret" not in (run.path / "run.json").read_text()
    sql = "SELECT number FROM config WHERE key = 'per_device_train_batch_size'"
    assert query(sql, tmp_path / "runs").to_pylist() == [{"number": 8.0}]


def test_a_run_that_was_given_to_a_trainer_gets_its_arguments(trainer, tmp_path):
    import thermograd

    with thermograd.start_run("given", tmp_path / "runs", agent=False, config={"mine": 1}) as run:
        trainer(run).train()
    (found,) = list_runs(tmp_path / "runs")
    config = run_config(found)
    assert (config["mine"], config["max_steps"]) == (1, 8)


def test_of_a_second_trainer_in_a_run_what_differs_stands_beside_the_first(trainer, tmp_path):
    import thermograd

    with thermograd.start_run("given", tmp_path / "runs", agent=False, config={"mine": 1}) as run:
        for _ in range(2):  # the second differs in nothing
            trainer(run, learning_rate=1e-3).train()
        trainer(run, learning_rate=5e-4, max_steps=4).train()
    (found,) = list_runs(tmp_path / "runs")
    config = run_config(found)
    assert (config["mine"], config["learning_rate"], config["max_steps"]) == (1, 1e-3, 8)
    assert {key: value for key, value in config.items() if key.startswith("trainer_")} == {
        "trainer_3": {"learning_rate": 5e-4, "max_steps": 4}
    }
    marks = read_kind(found.path, "mark").to_pylist()
    begun = [json.loads(m["detail"])["trainer"] for m in marks if (m["text"] or "").startswith("a Trainer's")]
    assert begun == [2, 3]
    sql = "SELECT key, number FROM config WHERE key LIKE 'trainer%' ORDER BY key"
    assert [row["key"] for row in query(sql, tmp_path / "runs").to_pylist()] == [
        "trainer_3.learning_rate",
        "trainer_3.max_steps",
    ]


@pytest.fixture
def module():
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self, width=3, api_key="sk-secret"):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(8, 1)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

        def training_step(self, batch, index):
            self.log("every", float(self.global_step))
            self.log("mean", float(index), on_step=False, on_epoch=True)
            return (self.layer(batch) ** 2).mean()

        def validation_step(self, batch, index):
            self.log("val_loss", 2.0 + self.current_epoch)

    return Module()


def test_what_a_lightning_module_logs_is_there_once_at_its_step(module, tmp_path):
    import lightning.pytorch as lightning
    from thermograd.ingest.lightning import ThermogradCallback

    loader = torch.utils.data.DataLoader(torch.randn(24, 8), batch_size=4)
    lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        max_epochs=2,
        log_every_n_steps=3,
        callbacks=[ThermogradCallback(runs=tmp_path / "runs")],
    ).fit(module, loader, loader)
    (run,) = list_runs(tmp_path / "runs")
    found = logged(run)
    assert [(step, value) for step, name, value in found if name == "every"] == [
        (3, 2.0),
        (6, 5.0),
        (9, 8.0),
        (12, 11.0),
    ]
    assert [(s, v) for s, name, v in found if name == "val_loss"] == [(6, 2.0), (12, 3.0)]
    assert [(s, v) for s, name, v in found if name == "mean"] == [(6, 2.5), (12, 2.5)]
    config = run.facts["config"]
    assert (config["width"], config["api_key"]) == (3, "<redacted>")
    assert config["trainer"]["max_epochs"] == 2
    assert all(math.isfinite(value) for _, _, value in found)
