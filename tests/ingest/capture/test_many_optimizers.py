"""Several optimizers, and kinds of gradients and losses: norm and loss, computed once more."""

import math

import pytest

torch = pytest.importorskip("torch")

from small_training import batch, exact, loss_of, make_model, norm_of, seen  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
)

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


def test_one_loss_and_two_optimizers_one_after_the_other_are_one_step(rows):
    model = make_model()
    halves = [torch.optim.SGD(model[i].parameters(), lr=0.1 + i) for i in (0, 2)]
    expected = []
    for step in range(3):
        loss = loss_of(model, 50, seed=step)
        loss.backward()
        expected.append((exact(loss.item()), exact(norm_of(*model.parameters())), False))
        for part in (model[0], model[2]):
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
        assert [row["grad_norm"] for row in rows[step:]] == [exact(whole)]


def test_an_optimizer_that_steps_less_often_is_part_of_the_steps_that_it_makes(rows):
    model = make_model()
    often, seldom = (torch.optim.SGD(model[i].parameters(), lr=0.1 + i) for i in (0, 2))
    expected = []
    for step in range(6):
        loss = loss_of(model, seed=step)
        loss.backward()
        steps = model if step % 2 else model[0]
        expected.append((exact(loss.item()), exact(norm_of(*steps.parameters())), False))
        often.step()
        often.zero_grad()
        if step % 2:
            seldom.step()
            seldom.zero_grad()
    assert seen(rows) == expected
    assert {row["learning_rate"] for row in rows} == {0.1}


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
