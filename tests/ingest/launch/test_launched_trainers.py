"""`thermograd run` with scripts that use a framework and know nothing of us: what they print is logged."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch")

from ports import reserved_port
from thermograd.ingest.launch.launcher import launch
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="exit codes of POSIX")]

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
RESUMED_LIGHTNING = LIGHTNING.replace(
    "enable_checkpointing=False, enable_progress_bar=False, max_epochs=1,",
    "enable_checkpointing=False, enable_progress_bar=False, max_epochs=int(sys.argv[2]),",
).replace("batch_size=4))", "batch_size=4), ckpt_path=sys.argv[1] if sys.argv[2] == '2' else None)")
RESUMED_LIGHTNING += "    trainer.save_checkpoint(sys.argv[1])\n"
TWO = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
TWO += ["--mixed_precision=no", "--dynamo_backend=no"]


@pytest.mark.parametrize(
    ("package", "script", "through", "steps"),
    [
        ("accelerate", ACCELERATE, TWO, 2),
        ("transformers", TRAINER, [], 5),
        ("lightning", LIGHTNING, [], 5),
    ],
    ids=["accelerate launch, two ranks", "Trainer", "Lightning"],
)
def test_what_a_script_prints_of_each_step_is_what_is_logged(
    tmp_path, monkeypatch, capfd, package, script, through, steps
):
    pytest.importorskip(package)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    path = tmp_path / "script.py"
    path.write_text("import sys\n" + textwrap.dedent(NORM) + textwrap.dedent(script))
    said = []
    with reserved_port() as port:
        through = [*through, f"--main_process_port={port}"] if through else []
        command = [sys.executable, *through, str(path), str(tmp_path / "out")]
        code = launch(tmp_path / "runs", None, 5.0, command, said.append)
    shown = capfd.readouterr()
    assert code == 0, shown.err
    told = sorted(line.split()[1:] for line in shown.out.splitlines() if line.startswith("told"))
    [run] = list_runs(tmp_path / "runs")
    rows = read_kind(run.path, "step").to_pylist()
    expected = [(int(rank), float(loss), float(norm)) for rank, loss, norm in told]
    assert len(expected) == steps * len({rank for rank, _, _ in expected})
    assert sorted((row["rank"], row["loss"], row["grad_norm"]) for row in rows) == [
        (rank, pytest.approx(loss, rel=1e-6), pytest.approx(norm, rel=1e-6))
        for rank, loss, norm in sorted(expected)
    ]
    assert {row["max_grad_norm"] for row in rows} == {0.5}
    assert len({row["rank"] for row in rows}) == (2 if through else 1)
    assert said == [f"recorded as {run.run_id}"]


@pytest.mark.parametrize(
    ("package", "script", "until", "numbers"),
    [
        ("transformers", RESUMED, ("6", "10"), [*range(7, 11), *range(7, 11)]),
        ("lightning", RESUMED_LIGHTNING, ("1", "2"), [*range(6, 11)]),
    ],
    ids=["Trainer", "Lightning"],
)
def test_a_resumed_training_goes_on_from_the_frameworks_own_count(
    tmp_path, package, script, until, numbers, capfd
):
    pytest.importorskip(package)
    path = tmp_path / "script.py"
    path.write_text("import sys\n" + textwrap.dedent(NORM) + textwrap.dedent(script))
    command = [sys.executable, str(path), str(tmp_path / "out")]
    subprocess.run([*command, until[0]], check=True, capture_output=True)
    code = launch(tmp_path / "runs", None, 5.0, [*command, until[1]], lambda text: None)
    assert code == 0, capfd.readouterr().err
    [run] = list_runs(tmp_path / "runs")
    rows = read_kind(run.path, "step").to_pylist()
    assert [row["step"] for row in rows] == numbers
    gaps = [mark["text"] for mark in read_kind(run.path, "mark").to_pylist() if mark["mark"] == "gap"]
    assert [gap.partition(",")[0] for gap in gaps] == (
        ["the training began again at step 7"] if len(set(numbers)) < len(numbers) else []
    )
