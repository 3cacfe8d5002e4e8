"""Several optimizers in one iteration, loss scales, and what else gradients are."""

import math

import pytest

torch = pytest.importorskip("torch")

from odd_loops import (  # noqa: E402
    Recorded,
    scale_in_place,
    sgd,
    steps,
    to_bound,
)
from small_training import batch, exact, loss_of, make_model, norm_of  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
)

# -- several optimizers ------------------------------------------------------------------------------


def halves(model):
    return (
        torch.optim.SGD([p for p in model.parameters() if p.ndim == 2], lr=1e-3),
        torch.optim.AdamW([p for p in model.parameters() if p.ndim < 2], lr=1e-3),
    )


@pytest.mark.parametrize("watching", ["none", "one call", "two calls"])
@pytest.mark.parametrize("clip", ["none", "all", "each", "by hand"])
@pytest.mark.parametrize("zero", ["model", "optimizers", "before"])
@pytest.mark.parametrize("micro", [1, 2])
def test_two_optimizers_for_one_loss_are_one_step(watching, clip, zero, micro):
    model = make_model()
    with Recorded() as recorded:
        optimizers = halves(model)
        for watched in {"none": [], "one call": [optimizers], "two calls": [(o,) for o in optimizers]}[
            watching
        ]:
            recorded.tap.watch(*watched)
        expected = []
        for step in range(12):
            if zero == "before":
                model.zero_grad()
            losses = [loss_of(model, 50, seed=10 * step + part) for part in range(micro)]
            for loss in losses:
                loss.backward()
            expected.append((exact(sum(loss.item() for loss in losses)), exact(norm_of(*model.parameters()))))
            if clip == "all":
                clip_grad_norm_(model.parameters(), 0.1)
            for optimizer in optimizers:
                parameters = optimizer.param_groups[0]["params"]
                if clip == "each":
                    clip_grad_norm_(parameters, 0.1)
                if clip == "by hand":
                    to_bound(scale_in_place)(parameters)
            for optimizer in optimizers:
                optimizer.step()
            for owner in {"model": [model], "optimizers": optimizers, "before": []}[zero]:
                owner.zero_grad()
    assert list(zip(recorded.losses(), recorded.norms(), strict=True)) == expected
    assert len(recorded.said("several optimizers make one step")) == 1


@pytest.mark.parametrize("clip", [True, False])
def test_a_gan_is_two_steps_unless_it_is_watched_as_one(clip):
    for together in (False, True):
        generator, critic = make_model(1), torch.nn.Linear(1, 1)
        with Recorded() as recorded:
            pair = torch.optim.SGD(critic.parameters(), 1e-3), torch.optim.SGD(generator.parameters(), 1e-3)
            if together:
                recorded.tap.watch(*pair)
            expected = []
            for step in range(6):
                made = generator(batch(step))
                losses = (
                    lambda made=made, critic=critic: (critic(made.detach()) - 1).square().mean(),
                    lambda made=made, critic=critic: 5 * critic(made).square().mean(),
                )
                for optimizer, module, loss in zip(pair, (critic, generator), losses, strict=True):
                    optimizer.zero_grad()
                    value = loss()
                    value.backward()
                    expected.append((value.item(), norm_of(*module.parameters())))
                    if clip:
                        clip_grad_norm_(module.parameters(), 1e-3)
                    optimizer.step()
        got = list(zip(recorded.losses(), recorded.norms(), strict=True))
        if together:
            two = zip(expected[::2], expected[1::2], strict=True)
            assert got == [(exact(a[0] + b[0]), exact(math.hypot(a[1], b[1]))) for a, b in two]
        else:
            assert got == [(exact(loss), exact(norm)) for loss, norm in expected]


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("watching", [True, False])
def test_an_optimizer_a_parameter_that_steps_in_the_backward_pass_is_one_step(clip, watching):
    model = make_model()
    optimizers = {p: torch.optim.Adam([p], lr=1e-3, foreach=False) for p in model.parameters()}

    def hook(p):
        if clip:
            clip_grad_norm_(p, 0.01)
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in optimizers:
        p.register_post_accumulate_grad_hook(hook)
    with Recorded() as recorded:
        if watching:
            recorded.tap.watch(*optimizers.values())
        expected = []
        for step in range(5):
            loss = loss_of(model, 50, seed=step)
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
            expected.append((exact(loss.item()), exact(norm)))
            loss.backward()
    assert list(zip(recorded.losses(), recorded.norms(), strict=True)) == expected


def test_some_step_in_the_backward_pass_and_the_others_after_it():
    model = make_model()

    def hook(p):
        inside[p].step()
        inside[p].zero_grad()

    with Recorded() as recorded:  # of optimizers made before, the first step tells that they are there
        inside = {p: torch.optim.SGD([p], lr=1e-3) for p in model[0].parameters()}
        after = torch.optim.SGD(model[2].parameters(), lr=1e-3)
        for p in inside:
            p.register_post_accumulate_grad_hook(hook)
        expected = []
        for step in range(5):
            loss = loss_of(model, 50, seed=step)
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
            expected.append((exact(loss.item()), exact(norm)))
            loss.backward()
            after.step()
            after.zero_grad()
    assert list(zip(recorded.losses(), recorded.norms(), strict=True)) == expected


def test_gradients_set_by_hand_for_two_optimizers_are_one_step():
    model = make_model()
    with Recorded() as recorded:
        optimizers, expected = halves(model), []
        for step in range(4):
            gradients = torch.autograd.grad(loss_of(model, 50, seed=step), list(model.parameters()))
            for p, gradient in zip(model.parameters(), gradients, strict=True):
                p.grad = gradient
            expected.append(exact(norm_of(*model.parameters())))
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad()
    assert recorded.norms() == expected


def test_the_parts_of_a_step_are_told(tmp_path):
    model = make_model()
    with Recorded() as recorded:
        optimizers = halves(model)
        loss_of(model, 50).backward()
        parts = [norm_of(*o.param_groups[0]["params"]) for o in optimizers]
        for optimizer in optimizers:
            optimizer.step()
    (text,) = recorded.said("grad_norm by optimizer")
    assert text == f"grad_norm by optimizer: SGD {parts[0]:.6g}, AdamW {parts[1]:.6g}"


# -- optimizers that undo the loss scale by themselves -----------------------------------------------


class Unscaling(torch.optim.Optimizer):
    """Undoes the scale that a scaler hands over as attributes, as fused Adam does."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad / self.grad_scale * self.param_groups[0]["lr"] * (1 - self.found_inf))


class UnscalingItself(torch.optim.SGD):
    """Takes the scaler itself, as optimizers did before."""

    _step_supports_amp_scaling = True

    def step(self, closure=None, grad_scaler=None):
        grad_scaler.unscale_(self)
        super().step()


@pytest.mark.filterwarnings("ignore:GradScaler is going to stop passing")
@pytest.mark.parametrize("kind", [Unscaling, UnscalingItself, "fused AdamW", "fused SGD"])
@pytest.mark.parametrize("clip", [None, "clip_grad_norm_", "by hand"])
def test_optimizers_that_unscale_by_themselves(recorded, kind, clip):
    model = make_model()
    if isinstance(kind, str):
        named = {"fused AdamW": torch.optim.AdamW, "fused SGD": torch.optim.SGD}[kind]
        optimizer = named(model.parameters(), lr=1e-3, fused=True)
    else:
        optimizer = kind(model.parameters(), lr=1e-3)
    if recorded.is_watching:
        recorded.tap.watch(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0, growth_interval=3)
    expected = []
    for step in range(10):
        optimizer.zero_grad()
        scale = scaler.get_scale()
        loss = loss_of(model, seed=step)
        scaler.scale(loss).backward()
        expected.append((exact(loss.item()), exact(norm_of(*model.parameters()) / scale)))
        if clip == "clip_grad_norm_":
            clip_grad_norm_(model.parameters(), 0.1 * scale)
        if clip == "by hand":
            to_bound(scale_in_place, 0.1 * scale)(list(model.parameters()))
        scaler.step(optimizer)
        scaler.update()
    recorded.tap.stop()
    assert list(zip(recorded.losses(), recorded.norms(), strict=True)) == expected


# -- what else gradients are -------------------------------------------------------------------------


def test_sparse_gradients_and_parameters_without_any(recorded):
    torch.manual_seed(0)
    table, unused = torch.nn.Embedding(10, 4, sparse=True), torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD([*table.parameters(), *unused.parameters()], lr=1e-2)
    expected = []
    for step in range(10):
        optimizer.zero_grad()
        table(torch.tensor([1, 1, step % 10])).square().sum().backward()
        expected.append(exact(math.sqrt(float((table.weight.grad.to_dense().double() ** 2).sum()))))
        optimizer.step()
    assert recorded.norms() == expected
    assert recorded.notes == []


def test_exchanged_parameters_are_noticed(recorded):
    model = make_model()
    optimizer = sgd(recorded, model)
    expected = steps(model, optimizer, lambda ps: clip_grad_norm_(ps, 0.1))
    model[2] = torch.nn.Linear(16, 1)
    optimizer.param_groups[0]["params"] = list(model.parameters())
    expected += steps(model, optimizer, lambda ps: clip_grad_norm_(ps, 0.1))
    optimizer.add_param_group({"params": list((extra := torch.nn.Linear(2, 1)).parameters())})
    model.add_module("extra", torch.nn.Identity())
    for p in extra.parameters():
        p.grad = torch.ones_like(p)
    loss_of(model, 50).backward()
    expected.append(exact(norm_of(*model.parameters(), *extra.parameters())))
    optimizer.step()
    assert recorded.norms()[:8] == expected[:8]
