"""An experiment in the trainers of frameworks: asked for by a callback, refused where the clock rules."""

import pytest
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

torch = pytest.importorskip("torch")
from small_training import make_model  # noqa: E402

DUTY = {"arm": "duty", "block_steps": 3, "start_step": 5, "seed": 4, "duty": 0.2}


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 200

    def __getitem__(self, i):
        x = torch.sin(torch.arange(8.0) * (i + 1))
        return {"x": x, "labels": x.sum()}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(make_model(), torch.nn.Dropout(0.2))

    def forward(self, x, labels):
        return {"loss": ((self.layers(x).squeeze(-1) - labels) ** 2).mean()}


def marks_of(runs):
    (run,) = list_runs(runs)
    return run, read_kind(run.path, "mark").to_pylist()


def test_a_trainer_has_the_same_losses_and_no_gap_in_an_evaluation(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from thermograd.ingest.huggingface import ThermogradCallback

    def train(name, **options):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            max_steps=14,
            per_device_train_batch_size=4,
            logging_steps=1,
            eval_strategy="steps",
            eval_steps=7,
            save_strategy="no",
            seed=3,
        )
        trainer = transformers.Trainer(
            model=Model(),
            args=arguments,
            train_dataset=Data(),
            eval_dataset=torch.utils.data.Subset(Data(), range(8)),
            callbacks=[ThermogradCallback(name, tmp_path / name, **options)],
        )
        trainer.train()
        return [(row["loss"], row["grad_norm"]) for row in trainer.state.log_history if "loss" in row]

    losses = train("without")
    assert train("duty", experiment=DUTY) == losses
    assert len(losses) == 14
    run, marks = marks_of(tmp_path / "duty")
    (experiment,) = read_experiments(marks)
    assert experiment.faults == []
    assert [a.assignment for a in experiment.assigned.values()] == [
        experiment.schedule.at(step) for step in (5, 8, 11, 14)
    ]
    idle_s = sum(a.idle_s for a in experiment.applied.values() if a.index < 3)
    steps = read_kind(run.path, "step").to_pylist()
    assert idle_s > 0
    span_s = (steps[-1]["monotonic_ns"] - steps[0]["monotonic_ns"]) / 1e9
    assert sum(step["step_time_s"] for step in steps[1:]) <= span_s - idle_s + 1e-6


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of many kinds
def test_a_lightning_trainer_that_ends_by_the_clock_is_refused(tmp_path, caplog):
    lightning = pytest.importorskip("lightning")
    from thermograd.ingest.lightning import ThermogradCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Model()

        def training_step(self, batch, index):
            return self.model(**batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(name, **options):
        lightning.seed_everything(1)
        trainer = lightning.Trainer(
            max_steps=10,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ThermogradCallback(runs=tmp_path / name, experiment=DUTY)],
            **options,
        )
        trainer.fit(Module(), torch.utils.data.DataLoader(Data(), batch_size=4))
        return marks_of(tmp_path / name)[1]

    (experiment,) = read_experiments(fit("duty"))
    assert sorted(experiment.assigned) == [0, 1]
    assert experiment.applied[0].steps == 3
    marks = fit("timed", max_time="00:01:00:00")
    assert read_experiments(marks) == []
    assert "no experiment: the Trainer's max_time (a Timer callback) goes by the wall clock" in caplog.text


def test_a_callback_says_what_is_not_allowed_when_it_is_made():
    pytest.importorskip("transformers")
    from thermograd.ingest.huggingface import ThermogradCallback

    with pytest.raises(ValueError, match="the experiment's arm is 'dty'"):
        ThermogradCallback(experiment="dty")
