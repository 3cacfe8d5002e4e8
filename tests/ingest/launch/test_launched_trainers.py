"""`thermograd run` with scripts that use a framework and know nothing of us: what they print is logged."""

import contextlib
import importlib
import runpy
import sys
import textwrap

import pytest

pytest.importorskip("torch")

from ports import reserved_port
from thermograd.ingest.launch.launcher import launch
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.own_values.configuration import run_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="exit codes of POSIX"),
    pytest.mark.filterwarnings("ignore"),  # Lightning's own, of many kinds
]
for framework in ("transformers", "lightning"):  # before a test has taken stderr, for Lightning keeps it
    with contextlib.suppress(ImportError):
        importlib.import_module(framework)

NORM = """
    import math, os, torch
    def norm_of(parameters):
        return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters))
    def tell(rank, loss, norm):
        os.write(1, f"told {rank} {loss} {norm}\\n".encode())  # in one piece: two ranks write
"""
ACCELERATE = """
    from accelerate import Accelerator
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = torch.nn.Linear(8, 1)
    data = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
    model, optimizer, batches = accelerator.prepare(
        model, torch.optim.AdamW(model.parameters()), torch.utils.data.DataLoader(data, batch_size=4)
    )
    total = 0.0
    for batch in batches:
        with accelerator.accumulate(model):
            loss = (model(batch) ** 2).mean() * 50
            accelerator.backward(loss)
            total += loss.item() / 2
            if accelerator.sync_gradients:
                tell(accelerator.process_index, total, norm_of(model.parameters()))
                total = 0.0
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
"""
TRAINER = """
    import transformers
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(6, 1)
        def forward(self, x, labels):
            return {"loss": ((self.layer(x).squeeze(-1) - labels) ** 2).mean()}
    class Told(transformers.Trainer):
        total = 0.0
        def training_step(self, model, *args, **kwargs):
            loss = super().training_step(model, *args, **kwargs)
            self.total += loss.item()
            if self.accelerator.sync_gradients:
                tell(0, self.total, norm_of(model.parameters()))
                self.total = 0.0
            return loss
    data = [{"x": 5 * torch.sin(torch.arange(6.0) * i), "labels": torch.tensor(i % 3.0)} for i in range(64)]
    arguments = transformers.TrainingArguments(
        output_dir=sys.argv[1], use_cpu=True, report_to=[], disable_tqdm=True, max_steps=5, logging_steps=50,
        gradient_accumulation_steps=2, max_grad_norm=0.5, save_strategy="no", dataloader_pin_memory=False)
    Told(model=Model(), args=arguments, train_dataset=data).train()
"""
LIGHTNING = """
    import lightning
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(8, 1)
        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())
        def training_step(self, batch, index):
            self.loss = (self.layer(batch) ** 2).mean() * 50
            return self.loss
        def on_after_backward(self):
            tell(0, self.loss.item(), norm_of(self.parameters()))
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1,
        enable_model_summary=False, gradient_clip_val=0.5)
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.randn(20, 8), batch_size=4))
"""
RESUMED = TRAINER.replace("max_steps=5", "max_steps=int(sys.argv[2])").replace(
    'save_strategy="no"', "save_strategy='steps', save_steps=6"
)
RESUMED = RESUMED.replace(
    ".train()\n",
    """
    trainer.train(resume_from_checkpoint=sys.argv[2] == "10")
    if sys.argv[2] == "10":  # again, as a script does that tries once more after an error
        trainer.train(resume_from_checkpoint=sys.argv[1] + "/checkpoint-6")
""",
).replace("    Told(model", "    trainer = Told(model")
EVALUATED = """
    import torch, transformers
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 1)
        def forward(self, x, labels):
            return {"loss": ((self.layer(x).squeeze(-1) - labels) ** 2).mean(), "logits": labels}
    data = [{"x": torch.sin(torch.arange(6.0) * i), "labels": torch.tensor(i % 3.0)} for i in range(64)]
    def make(callbacks, **more):
        arguments = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 3e-4} | more
        return transformers.Trainer(model=Model(), callbacks=callbacks, train_dataset=data, eval_dataset=data,
            args=transformers.TrainingArguments(output_dir="out", use_cpu=True, report_to=[], hub_token="x",
                disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False, **arguments))
    if sys.argv[1] == "given":
        from thermograd.ingest.huggingface import ThermogradCallback
        make([ThermogradCallback()]).train()
    else:
        trainer = make(None)
        trainer.train()
        trainer.evaluate(metric_key_prefix="after")
        model = Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            model(torch.ones(2, 6), torch.ones(2))["loss"].backward()
            optimizer.step()
        make(None, learning_rate=1e-3).train()
"""
EVALUATED_LIGHTNING = """
    import torch, lightning
    class Module(lightning.LightningModule):
        def __init__(self, width=3):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(8, 1)
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)
        def training_step(self, batch, index):
            self.log("mine", float(index))
            return (self.layer(batch) ** 2).mean()
        def validation_step(self, batch, index):
            self.log("val_loss", 2.0)
    def fit(callbacks, width):
        loader = torch.utils.data.DataLoader(torch.ones(16, 8), batch_size=4)
        lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=2, callbacks=callbacks,
        ).fit(Module(width), loader, loader)
    if sys.argv[1] == "given":
        from thermograd.ingest.lightning import ThermogradCallback
        fit([ThermogradCallback()], 3)
    else:
        fit(None, 3)
        fit(None, 5)
"""
TWO = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
TWO += ["--mixed_precision=no", "--dynamo_backend=no"]


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a script."""

    def write(text):
        path = tmp_path / "script.py"
        path.write_text("import sys\n" + textwrap.dedent(NORM) + textwrap.dedent(text))
        return path

    return write


def run_here(path, *words):
    """Run a script in this process, not launched: to import a framework takes seconds, and it is here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(path), *words])
        runpy.run_path(str(path), run_name="__main__")


def assert_told(rows, shown):
    """Steps are logged with the losses and norms that the script printed; return for which ranks."""
    told = sorted(line.split()[1:] for line in shown.splitlines() if line.startswith("told"))
    expected = sorted((int(rank), float(loss), float(norm)) for rank, loss, norm in told)
    assert sorted((row["rank"], row["loss"], row["grad_norm"]) for row in rows) == [
        (rank, pytest.approx(loss, rel=1e-6), pytest.approx(norm, rel=1e-6)) for rank, loss, norm in expected
    ]
    assert {row["max_grad_norm"] for row in rows} == {0.5}
    return [rank for rank, _, _ in expected]


def test_what_two_ranks_of_accelerate_launch_print_is_what_is_logged(tmp_path, script, monkeypatch, capfd):
    pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    said = []
    with reserved_port() as port:
        command = [sys.executable, *TWO, f"--main_process_port={port}", str(script(ACCELERATE))]
        code = launch(tmp_path / "runs", None, 5.0, command, said.append)
    shown = capfd.readouterr()
    assert code == 0, shown.err
    [run] = list_runs(tmp_path / "runs")
    assert assert_told(read_kind(run.path, "step").to_pylist(), shown.out) == [0, 0, 1, 1]
    assert said == [f"recorded as {run.run_id}"]


def test_a_resumed_training_goes_on_from_the_frameworks_own_count_and_is_logged_as_it_prints(
    tmp_path, script, capfd
):
    pytest.importorskip("transformers")
    path = script(RESUMED)
    run_here(path, str(tmp_path / "out"), "6")
    capfd.readouterr()
    command = [sys.executable, str(path), str(tmp_path / "out"), "10"]
    code = launch(tmp_path / "runs", None, 5.0, command, lambda text: None)
    shown = capfd.readouterr()
    assert code == 0, shown.err
    [run] = list_runs(tmp_path / "runs")
    rows = read_kind(run.path, "step").to_pylist()
    assert [row["step"] for row in rows] == [*range(7, 11), *range(7, 11)]
    assert_told(rows, shown.out)
    gaps = [mark["text"] for mark in read_kind(run.path, "mark").to_pylist() if mark["mark"] == "gap"]
    assert [gap.partition(",")[0] for gap in gaps] == ["the training began again at step 7"]


def recorded(run):
    """Return what a callback records of a training, of its first four steps."""
    steps = [(row["step"], row["epoch"]) for row in read_kind(run.path, "step").to_pylist()]
    metrics = [(row["step"], row["name"]) for row in read_kind(run.path, "metric").to_pylist()]
    marks = [row["step"] for row in read_kind(run.path, "mark").to_pylist() if row["mark"] == "evaluation"]
    config = {key: str(value) for key, value in run_config(run).items() if not key.startswith("trainer_")}
    return {"steps": steps, "metrics": metrics, "evaluations": marks, "config": config}


@pytest.mark.parametrize(
    ("package", "text", "second"),
    [
        ("transformers", EVALUATED, {"learning_rate": 1e-3}),
        ("lightning", EVALUATED_LIGHTNING, {"width": 5}),
    ],
    ids=["Trainer", "Lightning"],
)
def test_an_unchanged_trainer_is_recorded_as_one_with_our_callback(
    tmp_path, monkeypatch, capfd, package, script, text, second
):
    """Its configuration, evaluations and epochs; once where the script has given the callback itself."""
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    path = script(text)
    for mode in ("given", "unchanged"):
        code = launch(tmp_path / mode, None, 5.0, [sys.executable, str(path), mode], lambda text: None)
        assert code == 0, capfd.readouterr().err
    monkeypatch.setenv("THERMOGRAD_RUNS", str(tmp_path / "alone"))
    run_here(path, "given")
    [alone], [given] = list_runs(tmp_path / "alone"), list_runs(tmp_path / "given")
    [unchanged] = list_runs(tmp_path / "unchanged")
    expected, found = recorded(alone), recorded(unchanged)
    assert [step for step, _ in expected["steps"]] == [1, 2, 3, 4]
    assert expected["evaluations"]
    assert {step for step, _ in expected["metrics"]} >= {2, 4}
    assert recorded(given) == expected
    assert found["config"] == expected["config"]
    for name in ("steps", "metrics", "evaluations"):
        assert found[name][: len(expected[name])] == expected[name]
    assert run_config(unchanged)["trainer_2"] == second
    assert unchanged.facts["model"] == alone.facts["model"]
    names = [name for _, name in found["metrics"]]
    if package == "transformers":  # what comes after the training, too; steps of a loop of its own
        assert "after_loss" in names
        assert [step for step, _ in found["steps"]] == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4]
        assert [epoch for _, epoch in found["steps"][4:7]] == [None] * 3
