"""Compilers, Accelerate, engines and CUDA graphs: norm and loss, computed once more."""

import math
import shutil
import sys
import warnings
from types import ModuleType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from small_training import exact, loss_of, make_model, norm_of, seen  # noqa: E402
from thermograd.ingest.capture import hooks  # noqa: E402
from thermograd.ingest.capture.engines import megatron, placing as engine_hooks  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
    clip_grad_value_,
)

# -- compilers, Accelerate, engines ------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(("what", "clip"), [("model", True), ("step", False), ("whole", True)])
def test_compiled_parts_are_seen_like_others(rows, what, clip):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def train(seed):
        loss = loss_of(forward, 50, seed=seed)
        loss.backward()
        if clip:
            clip_grad_norm_(model.parameters(), 0.5)
        step()
        return loss

    def compiled(function, name):
        return torch.compile(function, backend="eager") if name == what else function

    forward, step = compiled(model, "model"), compiled(optimizer.step, "step")
    train_step = compiled(train, "whole")
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        for seed in range(4):
            loss = loss_of(model, 50, seed=seed)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            expected.append(
                (
                    exact(loss.item()),
                    exact(math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))),
                    False,
                )
            )
            assert train_step(seed).item() == exact(loss.item())
            optimizer.zero_grad()
    torch._dynamo.reset()
    assert seen(rows) == expected


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("how", ["norm", "largest", "value"])
def test_clipping_in_a_region_without_graph_breaks_is_seen_and_compiled_once(rows, how):
    from torch._dynamo.testing import CompileCounter

    warm = (
        make_model()
    )  # the first region of a process that takes a norm is compiled again after its first call
    warm_up = torch.compile(lambda: clip_grad_norm_(warm.parameters(), 0.5), backend="eager", fullgraph=True)
    warm_optimizer = torch.optim.SGD(warm.parameters(), lr=0.01)
    for seed in range(3):
        loss_of(warm, 50, seed=seed).backward()
        warm_up()
        warm_optimizer.step()
        warm_optimizer.zero_grad()
    torch._dynamo.reset()  # what other tests have compiled or left of it does not count
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    counter = CompileCounter()

    @torch.compile(backend=counter, fullgraph=True)
    def clip():
        if how == "value":
            clip_grad_value_(model.parameters(), 0.01)
        else:
            clip_grad_norm_(model.parameters(), 0.5, norm_type=2.0 if how == "norm" else math.inf)

    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(4):
            loss = loss_of(model, 50, seed=seed)
            loss.backward()
            expected.append((exact(loss.item()), exact(norm_of(*model.parameters())), False))
            clip()
            optimizer.step()
            optimizer.zero_grad()
    torch._dynamo.reset()
    assert seen(rows)[3:] == expected
    assert counter.frame_count == 1


@pytest.mark.parametrize("clip", [True, False])
def test_accelerate_with_accumulation(rows, clip):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    wrapped, steps = accelerator.prepare(model, optimizer)
    expected, total = [], 0.0
    for micro in range(6):
        with accelerator.accumulate(wrapped):
            loss = loss_of(wrapped, 50, seed=micro)
            accelerator.backward(loss)
            total += loss.item() / 2
            if accelerator.sync_gradients:
                expected.append((exact(total), exact(norm_of(*model.parameters())), False))
                total = 0.0
                if clip:
                    accelerator.clip_grad_norm_(wrapped.parameters(), 0.5)
            steps.step()
            steps.zero_grad()
    assert seen(rows) == expected


def test_only_the_optimizer_inside_a_wrapper_is_watched(tapped):
    accelerate = pytest.importorskip("accelerate")
    tap, rows = tapped
    model = make_model()
    steps = accelerate.Accelerator(cpu=True).prepare(torch.optim.SGD(model.parameters(), lr=0.01))
    tap.watch(steps)
    other = torch.optim.SGD(model.parameters(), lr=0.5)
    loss_of(model).backward()
    other.step()
    steps.step()
    assert [row["learning_rate"] for row in rows] == [0.01]


class Engine:
    """What DeepSpeed's engine does, as far as a step is concerned: read in its source, not run."""

    def __init__(self, model, accumulate):
        self.model, self.accumulate, self.micro_steps, self.scale = model, accumulate, 0, 65536.0
        halves = [list(model[0].parameters()), list(model[2].parameters())]
        self.optimizers = [torch.optim.SGD(half, lr=0.01) for half in halves]
        self.norm, self.applied = None, False

    def is_gradient_accumulation_boundary(self):
        return (self.micro_steps + 1) % self.accumulate == 0

    def was_step_applied(self):
        return self.applied

    def get_global_grad_norm(self):
        return self.norm

    def get_lr(self):
        return [0.01]

    def backward(self, loss):
        (loss / self.accumulate * self.scale).backward()
        return loss.detach() / self.accumulate

    def step(self):
        if self.is_gradient_accumulation_boundary():
            norm = norm_of(*self.model.parameters()) / self.scale
            self.applied = math.isfinite(norm)
            if self.applied:
                self.norm = norm
                for optimizer in self.optimizers:  # one step a parameter group
                    optimizer.step()
            self.model.zero_grad()
        self.micro_steps += 1


def test_a_deepspeed_engine_tells_its_norm_and_its_overflows(rows):
    class Hooked(Engine):
        step, backward = Engine.step, Engine.backward

    engine_hooks.hook_deepspeed(Hooked, hooks._engine, hooks._active)
    engine = Hooked(make_model(), accumulate=2)
    expected = []
    for step in range(4):
        total = 0.0
        for micro in range(2):
            loss = loss_of(engine.model, math.inf if step == 2 else 1.0, seed=10 * step + micro)
            total += engine.backward(loss).item()
            if micro:
                norm = norm_of(*engine.model.parameters()) / engine.scale
                expected.append((exact(total), None if step == 2 else exact(norm), step == 2))
            engine.step()
    assert seen(rows) == expected
    assert {row["learning_rate"] for row in rows} == {0.01}


def megatron_like():
    """Return a module with classes of Megatron-LM's names, which do in order what megatron-core 0.16 does."""

    class MegatronOptimizer:
        def __init__(self, inner, clip_grad):
            self.optimizer, self.config = inner, SimpleNamespace(clip_grad=clip_grad)
            self.param_groups = inner.param_groups

        def get_loss_scale(self):
            return torch.tensor([64.0])

        def scale_loss(self, loss):
            return self.get_loss_scale() * loss

    class MixedPrecisionOptimizer(MegatronOptimizer):
        def step(self):
            parameters = [p for group in self.param_groups for p in group["params"]]
            for p in parameters:
                p.grad /= self.get_loss_scale()
            norm = norm_of(*parameters)
            if not math.isfinite(norm):
                return False, None, None
            if self.config.clip_grad > 0:
                clip_grad_norm_(parameters, self.config.clip_grad)
            self.optimizer.step()
            return True, norm if self.config.clip_grad > 0 else 0.0, 0

    class ChainedOptimizer(MegatronOptimizer):
        def __init__(self, chained):
            super().__init__(chained[0], chained[0].config.clip_grad)
            self.chained = chained

        def step(self):
            results = [optimizer.step() for optimizer in self.chained]
            return all(r[0] for r in results), results[0][1], 0

    return SimpleNamespace(
        **{kind.__name__: kind for kind in (MegatronOptimizer, MixedPrecisionOptimizer)},
        ChainedOptimizer=ChainedOptimizer,
    )


@pytest.mark.parametrize("clip_grad", [1.0, 0.0])
@pytest.mark.parametrize("is_chained", [False, True])
def test_megatrons_optimizers_tell_the_norm_that_they_clip_by(rows, clip_grad, is_chained):
    module = megatron_like()
    megatron.hook_megatron(module, hooks._engine, hooks._active, hooks._scaled_by)
    model = make_model()
    optimizer = module.MixedPrecisionOptimizer(torch.optim.SGD(model.parameters(), lr=0.01), clip_grad)
    outer = module.ChainedOptimizer([optimizer]) if is_chained else optimizer
    expected = []
    for step in range(4):
        loss = loss_of(model, math.inf if step == 2 else 1.0, seed=step)
        outer.scale_loss(loss).backward()
        norm = norm_of(*model.parameters()) / 64
        outer.step()
        model.zero_grad()
        is_told = clip_grad > 0 and step != 2
        expected.append((exact(loss.item()), exact(norm) if is_told else None, step == 2))
    assert seen(rows) == expected
    assert {row["learning_rate"] for row in rows} == {0.01}
    assert {row["max_grad_norm"] for row in rows} == {clip_grad or None}


def test_an_engine_of_another_version_is_no_trouble(rows):
    class Strange:
        def is_gradient_accumulation_boundary(self):
            raise TypeError("another version")

        def step(self):
            return "stepped"

        def backward(self, loss):
            return "no tensor"

    engine_hooks.hook_deepspeed(Strange, hooks._engine, hooks._active)
    assert Strange().backward(None) == "no tensor"
    assert Strange().step() == "stepped"
    assert rows == []


def test_an_engine_under_another_name_is_no_trouble(model, rows, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "deepspeed.runtime.engine", ModuleType("engine"))
    monkeypatch.setattr(engine_hooks, "_todo", {"deepspeed.runtime.engine"})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_of(model).backward()
    optimizer.step()
    assert len(rows) == 1
    assert "cannot see what an engine does" in caplog.text


def test_while_a_cuda_graph_is_captured_nothing_is_touched(model, rows, monkeypatch):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for capturing in (True, False):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda capturing=capturing: capturing)
        optimizer.zero_grad()
        loss_of(model).backward()
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        assert len(rows) == (0 if capturing else 1)
