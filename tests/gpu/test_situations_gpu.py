"""Norm and loss on a real NVIDIA GPU, computed once more; skipped where there is none.

The situations that another device changes: the values are read back late, through pinned memory, and a
gradient scaler decides on the device. All others are tested on the processor, in ``tests/ingest``.
"""

import json
import math

import pytest

torch = pytest.importorskip("torch")
DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

import thermograd  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402
from torch.nn.utils import clip_grad_norm_  # noqa: E402


def exact(value):
    return pytest.approx(value, rel=1e-6, nan_ok=True)


def make_model():
    torch.manual_seed(0)
    layers = torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    return torch.nn.Sequential(*layers).to(DEVICE)


def loss_of(model, factor, seed):
    batch = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)).to(DEVICE)
    return (model(batch) ** 2).mean().float() * factor


def norm_of(model):
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in model.parameters()))


@pytest.fixture
def logged(tmp_path):
    """Return a function that runs a training loop, recorded, and gives back its step events and marks."""

    def train(loop, **options):
        with thermograd.start_run(runs=tmp_path, agent=False, **options) as run:
            run.tap()
            loop(run)
        return read_kind(run.path, "step").to_pylist(), read_kind(run.path, "mark").to_pylist()

    return train


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("bound", [None, 0.5])
def test_a_plain_loop(logged, bound, accumulate, fused):
    model, expected = make_model(), []
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)

    def loop(run):
        for step in range(5):
            total = 0.0
            for micro in range(accumulate):
                loss = loss_of(model, 50 / accumulate, 10 * step + micro)
                loss.backward()
                total += loss.item()
                loss.detach_().zero_()
            expected.append((exact(total), exact(norm_of(model))))
            if bound is not None:
                clip_grad_norm_(model.parameters(), bound).zero_()
            optimizer.step()
            optimizer.zero_grad()

    steps, marks = logged(loop)
    assert [(s["loss"], s["grad_norm"]) for s in steps] == expected
    assert {s["max_grad_norm"] for s in steps} == {bound}
    if DEVICE == "cuda":
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        assert any(uuid in (mark["text"] or "") for mark in marks)


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_scaler_with_an_overflow(logged, unscale, clip, fused):
    model, expected = make_model(), []
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=1024.0, growth_interval=2)

    def loop(run):
        for step in range(5):
            optimizer.zero_grad()
            with torch.autocast(DEVICE, torch.float16 if DEVICE == "cuda" else torch.bfloat16):
                loss = loss_of(model, math.inf if step == 2 else 1.0, step)
            scale = scaler.get_scale()
            scaler.scale(loss).backward()
            norm = norm_of(model) / scale
            if unscale:
                scaler.unscale_(optimizer)
            if clip:
                clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            expected.append((exact(loss.item()), exact(norm)))

    steps, _ = logged(loop)
    assert [s["skipped"] for s in steps] == [False, False, True, False, False]
    assert [s["loss"] for s in steps] == [loss for loss, _ in expected]
    for step in (0, 1, 3, 4):
        assert steps[step]["grad_norm"] == expected[step][1]
    assert not math.isfinite(steps[2]["grad_norm"])


def test_layers_are_named_with_their_norms(logged):
    model, truth = make_model(), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def loop(run):
        run.watch(optimizer, model)
        for step in range(1, 101):
            optimizer.zero_grad()
            loss_of(model, 50, step).backward()
            if step == 100:
                for name in ("0", "2"):
                    truth[name] = norm_of(model[int(name)])
            optimizer.step()

    _, marks = logged(loop, layer_norms=True)
    [mark] = [m for m in marks if m["step"] == 100]
    found = {each["layer"]: each["norm"] for each in json.loads(mark["detail"])["layer_norms"]}
    assert found == pytest.approx(truth, rel=1e-5)


def test_the_trainer_logs_the_same_norms(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from thermograd.ingest.huggingface import ThermogradCallback
    from thermograd.store.runs.catalogue import find_run

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = make_model()

        def forward(self, x, labels):
            return {"loss": ((self.layers(x).squeeze(-1) - labels) ** 2).mean()}

    data = [{"x": torch.full((8,), i / 8), "labels": torch.tensor(i % 3.0)} for i in range(64)]
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=10,
        logging_steps=1,
        max_grad_norm=0.5,
        per_device_train_batch_size=4,
        use_cpu=DEVICE == "cpu",
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
    )
    callback = ThermogradCallback(name="t", runs=tmp_path / "runs")
    trainer = transformers.Trainer(model=Model(), args=arguments, train_dataset=data, callbacks=[callback])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    steps = read_kind(find_run(tmp_path / "runs", "latest").path, "step").to_pylist()
    told = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    assert [s["grad_norm"] for s in steps] == [exact(norm) for norm in told]
