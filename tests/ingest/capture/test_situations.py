"""Every way to train that changes where gradients are right: norm and loss, computed once more."""

import math
import shutil
import warnings

import pytest

torch = pytest.importorskip("torch")

from thermograd.ingest.capture import engine_hooks as late_hooks  # noqa: E402
from thermograd.ingest.capture import hooks  # noqa: E402
from thermograd.ingest.capture.tap import StepTap  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)


def exact(value):
    return pytest.approx(value, rel=1e-6, nan_ok=True)


def make_model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def batch(seed=0):
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))


def loss_of(model, factor=1.0, seed=0):
    return (model(batch(seed)) ** 2).mean() * factor


def norm_of(*parameters):
    """Return the norm of gradients by its definition, in double precision."""
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters if p.grad is not None))


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def tapped():
    rows = []
    tap = StepTap(lambda **values: rows.append(values))
    tap.start()
    yield tap, rows
    tap.stop()
    assert tap.guard.failures == 0


@pytest.fixture
def rows(tapped):
    return tapped[1]


def seen(rows):
    return [(row["loss"], row["grad_norm"], row["skipped"]) for row in rows]


# -- plain loops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, 0.5, math.inf])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_plain_loop(model, rows, bound, accumulate):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    expected = []
    for step in range(3):
        total = 0.0
        for micro in range(accumulate):
            loss = loss_of(model, 50, seed=10 * step + micro) / accumulate
            loss.backward()
            total += loss.item()
            loss.detach_().zero_()  # the script may do with its loss what it likes
        expected.append((exact(total), exact(norm_of(*model.parameters())), False))
        if bound is not None:
            clip_grad_norm_(model.parameters(), bound).zero_()
        optimizer.step()
        optimizer.zero_grad()
    assert seen(rows) == expected
    assert {row["max_grad_norm"] for row in rows} == {0.5 if bound == 0.5 else None}


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("owner", ["optimizer", "model"])
def test_a_loss_whose_gradients_were_dropped_is_no_part_of_the_step(model, rows, owner, set_to_none):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for factor in (1.0, 2.0):
        loss_of(model, 7.0).backward()  # a look at the gradients, as a learning-rate finder takes
        (optimizer if owner == "optimizer" else model).zero_grad(set_to_none=set_to_none)
        loss = loss_of(model, factor)
        loss.backward()
        expected = norm_of(*model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        if factor == 2.0:  # the first time, nothing of the optimizer was known before it stepped
            assert seen(rows)[-1] == (exact(loss.item()), exact(expected), False)


def test_clipping_by_value_is_measured_before(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model, 50)
    loss.backward()
    expected = norm_of(*model.parameters())
    clip_grad_value_(model.parameters(), 0.01)
    assert norm_of(*model.parameters()) < expected / 2
    optimizer.step()
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]
    assert rows[0]["max_grad_norm"] is None


def test_clipping_by_value_and_then_by_norm_keeps_the_norm_before_both(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    clip_grad_value_(model.parameters(), 0.01)
    clip_grad_norm_(model.parameters(), 0.02)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.02)


def test_parts_that_are_clipped_one_by_one_add_up_to_one_norm(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    clip_grad_norm_(model[0].parameters(), 0.1)
    clip_grad_norm_(model[2].parameters(), 0.1)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.1)


def test_a_total_that_is_clipped_to_mesh_by_mesh_is_one_total(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    norms = [get_total_norm([p.grad for p in part.parameters()]) for part in (model[0], model[2])]
    total = torch.linalg.vector_norm(torch.stack(norms))
    for part in (model[0], model[2]):
        clip_grads_with_norm_(part.parameters(), 0.5, total)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.5)


def test_clipping_at_every_micro_batch_gives_what_the_last_clip_saw(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for micro in range(3):
        loss_of(model, 50, seed=micro).backward()
        expected = norm_of(*model.parameters())
        clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    assert len(rows) == 1
    assert rows[0]["grad_norm"] == exact(expected)


def test_a_step_that_the_script_leaves_out_is_skipped_with_its_own_norm_and_loss(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    expected = []
    for step in range(4):
        optimizer.zero_grad()
        loss = loss_of(model, math.inf if step in (0, 2) else 1.0, seed=step)
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 1.0)
        if step % 2:
            optimizer.step()
        expected.append((exact(loss.item()), exact(norm.item()), step % 2 == 0))
    assert seen(rows) == expected
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def test_a_closure_is_measured_after_it_ran(model, rows):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    last = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        last[:] = [loss.item(), norm_of(*model.parameters())]
        return loss

    for _ in range(2):
        optimizer.step(closure)
        assert seen(rows)[-1] == (exact(last[0]), exact(last[1]), False)


# -- gradient scalers --------------------------------------------------------------------------------


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_scaler_with_an_overflow(model, rows, unscale, clip, fused):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    expected = []
    for step in range(5):
        optimizer.zero_grad()
        factor = math.inf if step == 2 else 50.0
        loss = loss_of(model, factor, seed=step)
        scale = scaler.get_scale()
        scaler.scale(loss).backward()
        norm = norm_of(*model.parameters()) / scale
        if unscale:
            scaler.unscale_(optimizer)
        if clip:
            clip_grad_norm_(model.parameters(), 0.5)
        before = [p.detach().clone() for p in model.parameters()]
        scaler.step(optimizer)
        scaler.update()
        skipped = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        expected.append((exact(loss.item()), exact(norm), skipped))
    assert [e[2] for e in expected] == [False, False, True, False, False]
    got = seen(rows)
    assert [s[2] for s in got] == [s[2] for s in expected]
    assert [s[0] for s in got] == [s[0] for s in expected]
    for step in (0, 1, 3, 4):
        assert got[step][1] == expected[step][1]
    assert not math.isfinite(got[2][1])  # inf or NaN: unscaling and clipping turn one into the other


def test_losses_that_are_scaled_and_then_added_count_unscaled(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    a, b = loss_of(model, 2.0), loss_of(model, 3.0, seed=1)
    (scaler.scale(a) + scaler.scale(b)).backward()
    scaler.step(optimizer)
    assert rows[0]["loss"] == exact((a + b).item())


def test_a_scaler_that_is_off_changes_nothing(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    loss = loss_of(model)
    scaler.scale(loss).backward()
    expected = norm_of(*model.parameters())
    scaler.step(optimizer)
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]


# -- several optimizers ------------------------------------------------------------------------------


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("clip", [True, False])
def test_two_optimizers_in_turn_keep_their_losses_and_norms_apart(rows, clip, set_to_none):
    generator, critic = make_model(1), torch.nn.Linear(1, 1)
    steps_g = torch.optim.SGD(generator.parameters(), lr=0.01)
    steps_c = torch.optim.Adam(critic.parameters(), lr=0.02)
    expected = []
    for step in range(4):
        made = generator(batch(step))
        for optimizer, module, loss in (
            (steps_c, critic, lambda made=made: (critic(made.detach()) - 1).square().mean()),
            (steps_g, generator, lambda made=made: 5 * critic(made).square().mean()),
        ):
            optimizer.zero_grad(set_to_none=set_to_none)
            value = loss()
            value.backward()
            expected.append((exact(value.item()), exact(norm_of(*module.parameters())), False))
            if clip:
                clip_grad_norm_(module.parameters(), 1e-3)
            optimizer.step()
    assert seen(rows) == expected
    assert [row["learning_rate"] for row in rows] == [0.02, 0.01] * 4


def test_one_loss_and_two_optimizers_one_after_the_other(rows):
    model = make_model()
    halves = [torch.optim.SGD(model[i].parameters(), lr=0.1 + i) for i in (0, 2)]
    expected = []
    for step in range(3):
        loss = loss_of(model, 50, seed=step)
        loss.backward()
        for part in (model[0], model[2]):
            expected.append((exact(loss.item()), exact(norm_of(*part.parameters())), False))
            clip_grad_norm_(part.parameters(), 0.1)
        for half in halves:
            half.step()
        for half in halves:
            half.zero_grad()
    assert seen(rows) == expected


def test_one_clip_for_two_optimizers_is_the_norm_of_both(rows):
    model = make_model()
    halves = [torch.optim.SGD(model[i].parameters(), lr=0.1) for i in (0, 2)]
    for step in range(2):
        loss_of(model, 50, seed=step).backward()
        whole = norm_of(*model.parameters())
        clip_grad_norm_(model.parameters(), 0.1)
        for half in halves:
            half.step()
            half.zero_grad()
        assert [row["grad_norm"] for row in rows[-2:]] == [exact(whole)] * 2


def test_an_optimizer_that_steps_less_often_gets_the_losses_since_its_last_step(rows):
    model = make_model()
    often, seldom = (torch.optim.SGD(model[i].parameters(), lr=0.1 + i) for i in (0, 2))
    losses = []
    for step in range(6):
        loss = loss_of(model, seed=step)
        loss.backward()
        losses.append(loss.item())
        often.step()
        often.zero_grad()
        if step % 2:
            seldom.step()
            seldom.zero_grad()
    mine = [row["loss"] for row in rows if row["learning_rate"] > 1]
    assert mine[1:] == [exact(sum(losses[2:4])), exact(sum(losses[4:6]))]
    assert [row["loss"] for row in rows if row["learning_rate"] < 1] == [exact(loss) for loss in losses]


def test_an_optimizer_inside_another_is_one_step(model, rows):
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner
            super().__init__(inner.param_groups, {})

        def step(self, closure=None):
            self.inner.step()

    outer = Outer(torch.optim.SGD(model.parameters(), lr=0.1))
    for step in range(2):
        loss = loss_of(model, seed=step)
        loss.backward()
        expected = norm_of(*model.parameters())
        outer.step()
        outer.zero_grad()
        assert seen(rows)[-1] == (exact(loss.item()), exact(expected), False)
    assert len(rows) == 2


def test_a_step_that_raised_is_forgotten(model, rows):
    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("the user's own")

    broken = Broken(model.parameters(), lr=0.1)
    loss_of(model).backward()
    with pytest.raises(RuntimeError, match="the user's own"):
        broken.step()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()
    assert [row["step"] for row in rows] == [1]


# -- kinds of gradients ------------------------------------------------------------------------------


def test_sparse_gradients_count_repeated_rows_once(rows):
    torch.manual_seed(0)
    table = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    loss = table(torch.tensor([1, 1, 2])).square().sum()
    loss.backward()
    expected = norm_of_dense = math.sqrt(float((table.weight.grad.to_dense().double() ** 2).sum()))
    optimizer.step()
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]
    assert norm_of_dense > 0


def test_complex_parameters(rows):
    weight = torch.nn.Parameter(torch.tensor([1 + 2j, 3 - 1j]))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    (weight.abs() ** 2).sum().backward()
    expected = math.sqrt(sum(abs(complex(g)) ** 2 for g in weight.grad))
    optimizer.step()
    assert rows[0]["grad_norm"] == exact(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients_do_not_overflow_their_own_norm(rows, dtype):
    weight = torch.nn.Parameter(torch.ones(1000, dtype=dtype))
    weight.grad = torch.full((1000,), 30_000.0, dtype=dtype)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    expected = norm_of(weight)
    optimizer.step()
    assert expected > 65_504
    assert rows[0]["grad_norm"] == exact(expected)


def test_a_model_without_gradients_has_no_norm(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()
    optimizer.param_groups[0]["params"] = []
    optimizer.step()
    optimizer.param_groups = []
    optimizer.step()
    assert seen(rows) == [(None, None, False)] * 3


def test_a_loss_that_is_no_scalar_is_not_known(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    output = model(batch())
    output.backward(torch.ones_like(output))
    expected = norm_of(*model.parameters())
    optimizer.step()
    assert seen(rows) == [(None, exact(expected), False)]


def test_backward_twice_on_one_graph_counts_twice_as_the_gradient_does(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model)
    loss.backward(retain_graph=True)
    torch.autograd.backward(loss)
    expected = norm_of(*model.parameters())
    optimizer.step()
    assert seen(rows) == [(exact(2 * loss.item()), exact(expected), False)]


def test_a_backward_that_fails_is_no_loss(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    optimizer.step()
    assert rows[0]["loss"] == exact(loss.item())


def test_checkpointing_inside_backward_is_no_loss_of_its_own(rows):
    from torch.utils.checkpoint import checkpoint

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hidden = checkpoint(model[0], batch().requires_grad_(), use_reentrant=True)
    loss = checkpoint(lambda x: model[2](model[1](x)).sum().reshape(1), hidden, use_reentrant=True).sum()
    loss.backward()
    expected = norm_of(*model.parameters())
    optimizer.step()
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]


def test_a_backward_inside_of_backward_is_no_loss_of_its_own(model, rows):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            with torch.enable_grad():
                torch.ones(3, requires_grad=True).sum().backward()
            return gradient

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = Own.apply(loss_of(model))
    loss.backward()
    optimizer.step()
    assert rows[0]["loss"] == exact(loss.item())


def test_inference_mode_around_clipping_and_stepping_is_no_trouble(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model, 50)
    loss.backward()
    expected = norm_of(*model.parameters())
    with torch.inference_mode():
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]


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
    assert seen(rows) == expected
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

    late_hooks.hook_deepspeed(Hooked, hooks._engine, hooks._active)
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


def test_an_engine_of_another_version_is_no_trouble(rows):
    class Strange:
        def is_gradient_accumulation_boundary(self):
            raise TypeError("another version")

        def step(self):
            return "stepped"

        def backward(self, loss):
            return "no tensor"

    late_hooks.hook_deepspeed(Strange, hooks._engine, hooks._active)
    assert Strange().backward(None) == "no tensor"
    assert Strange().step() == "stepped"
    assert rows == []


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


# -- several taps ------------------------------------------------------------------------------------


def test_two_taps_see_the_same(model, rows):
    others = []
    second = StepTap(lambda **values: others.append(values))
    second.start()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()
    second.stop()
    assert seen(others) == seen(rows)
    assert len(rows) == 1
