"""Gradients clipped or changed by hand: norms before the one and after the other."""

import pytest

torch = pytest.importorskip("torch")

from odd_loops import (  # noqa: E402
    adaptive,
    clamp,
    clamp_data,
    normalize_each,
    replace,
    scale_data,
    scale_in_place,
    scale_together,
    sgd,
    steps,
    to_bound,
    total,
)
from small_training import exact, loss_of, make_model, norm_of  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
)

# -- clipped by hand ---------------------------------------------------------------------------------


BY_HAND = {
    "mul_": to_bound(scale_in_place),
    "foreach_mul_": to_bound(scale_together),
    "p.grad = p.grad * c": to_bound(replace),
    "p.grad.data.mul_": to_bound(scale_data),
    "only where it is large": lambda ps: to_bound(scale_in_place)(ps) if total(ps) > 20 else None,
    "a bound that bites seldom": to_bound(scale_in_place, 60.0),
    "normalized to 1": lambda ps: scale_in_place(ps, 1.0 / total(ps)),
    "normalized to more than there is": lambda ps: scale_in_place(ps, 1e3 / total(ps)),
    "each normalized": normalize_each,
    "clamp_": clamp,
    "clamp_ of data": clamp_data,
    "adaptive (AGC)": adaptive,
    "a part by hand": lambda ps: to_bound(scale_in_place)(ps[:2]),
    "clamp_ and then clip_grad_norm_": lambda ps: (clamp(ps), clip_grad_norm_(ps, 0.1)),
    "clip_grad_norm_ and then by hand": lambda ps: (clip_grad_norm_(ps, 5.0), to_bound(scale_in_place)(ps)),
    "a part by hand, the rest not": lambda ps: (
        to_bound(scale_in_place)(ps[:2]),
        clip_grad_norm_(ps[2:], 0.1),
    ),
}


@pytest.mark.parametrize("how", BY_HAND)
@pytest.mark.parametrize("micro", [1, 3])
def test_clipping_by_hand_does_not_count(recorded, how, micro):
    model = make_model()
    expected = steps(model, sgd(recorded, model), BY_HAND[how], count=12, micro=micro)
    recorded.tap.stop()
    assert recorded.norms() == expected


@pytest.mark.parametrize("how", ["mul_", "clamp_", "normalized to 1", "each normalized"])
def test_clipping_by_hand_is_said_once(recorded, how):
    model = make_model()
    steps(model, sgd(recorded, model), BY_HAND[how], count=12)
    assert len(recorded.said("clipped by hand")) == 1


def test_clipping_by_hand_that_begins_late(recorded):
    model = make_model()
    optimizer = sgd(recorded, model)
    expected = steps(model, optimizer, lambda ps: None, count=30)
    expected += steps(model, optimizer, BY_HAND["mul_"], count=30)
    assert recorded.norms() == expected


def test_clipping_by_hand_under_a_scaler(recorded):
    model = make_model()
    optimizer = sgd(recorded, model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    expected = []
    for step in range(10):
        optimizer.zero_grad()
        scale = scaler.get_scale()
        scaler.scale(loss_of(model, 50, seed=step)).backward()
        expected.append(exact(norm_of(*model.parameters()) / scale))
        scaler.unscale_(optimizer)
        BY_HAND["mul_"](list(model.parameters()))
        scaler.step(optimizer)
        scaler.update()
    recorded.tap.stop()
    assert recorded.norms() == expected


def test_a_norm_that_sits_on_a_constant_is_said_once(recorded):
    model = make_model()
    for p in model.parameters():  # inside the backward pass, where nothing can be seen before it
        p.register_hook(lambda g: g / g.norm())
    steps(model, sgd(recorded, model), lambda ps: None, count=40)
    assert len(recorded.said("sits on 2")) == 1


def test_a_norm_that_moves_sits_on_nothing(recorded):
    model = make_model()
    steps(model, sgd(recorded, model), lambda ps: clip_grad_norm_(ps, 0.5), count=40)
    assert recorded.notes == []


# -- changed by hand, but not clipped ----------------------------------------------------------------


def keep_rows(parameters):
    parameters[0].grad[:8] = 0


CHANGES = {
    "averaged": lambda ps: scale_in_place(ps, 1 / 8),
    "averaged over ranks as a new tensor": lambda ps: replace(ps, 0.5),
    "unscaled by hand": lambda ps: scale_in_place(ps, 1 / 65536),
    "a factor a layer": lambda ps: [scale_in_place(ps[:2], 3.0), scale_in_place(ps[2:], 0.5)],
    "masked": keep_rows,
    "noise": lambda ps: [p.grad.add_(torch.randn_like(p.grad)) for p in ps],
    "weight decay": lambda ps: [p.grad.add_(p.detach(), alpha=10.0) for p in ps],
    "a gradient taken away": lambda ps: setattr(ps[0], "grad", None),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_is_no_clipping_counts(recorded, how):
    model = make_model()
    changed = []

    def treat(parameters):
        CHANGES[how](parameters)
        changed.append(exact(norm_of(*parameters)))

    steps(model, sgd(recorded, model), treat, count=12)
    recorded.tap.stop()
    assert recorded.norms() == changed
    assert len(recorded.notes) == 1


@pytest.mark.parametrize("how", ["averaged", "masked", "noise"])
def test_what_is_no_clipping_counts_before_a_clip(recorded, how):
    model = make_model()
    changed = []

    def treat(parameters):
        CHANGES[how](parameters)
        changed.append(exact(norm_of(*parameters)))
        clip_grad_norm_(parameters, 0.1)

    steps(model, sgd(recorded, model), treat, count=12)
    recorded.tap.stop()
    assert recorded.norms() == changed


def test_a_sum_divided_by_its_number_of_tokens_counts(recorded):
    model = make_model()
    changed, tokens = [], iter([211, 187, 240, 199, 233, 205, 214, 190, 222, 209, 201, 230])

    def treat(parameters):
        scale_in_place(parameters, 1 / next(tokens))
        changed.append(exact(norm_of(*parameters)))

    steps(model, sgd(recorded, model), treat, count=12)
    recorded.tap.stop()
    assert recorded.norms() == changed


def pcgrad(model, optimizer, losses, reduce=sum):
    """Project conflicting gradients of two tasks, as PCGrad does."""
    parameters, gradients = list(model.parameters()), []
    for loss in losses:
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        gradients.append([p.grad.clone() for p in parameters])
    first, second = gradients
    dot = sum((a * b).sum() for a, b in zip(first, second, strict=True))
    if dot < 0:
        square = sum((b * b).sum() for b in second)
        first = [a - dot / square * b for a, b in zip(first, second, strict=True)]
    for p, a, b in zip(parameters, first, second, strict=True):
        p.grad = reduce([a, b])


@pytest.mark.parametrize("mean", [True, False])
def test_gradients_of_pcgrad(recorded, mean):
    model = make_model()
    optimizer, expected = sgd(recorded, model), []
    for step in range(10):
        losses = [loss_of(model, 50, seed=step), -loss_of(model, 20, seed=step + 50)]
        pcgrad(model, optimizer, losses, (lambda parts: sum(parts) / 2) if mean else sum)
        expected.append(exact(norm_of(*model.parameters())))
        optimizer.step()
    recorded.tap.stop()
    assert recorded.norms() == expected
    assert recorded.losses() == [None] * 10


@pytest.mark.parametrize("clip", [True, False])
def test_gradients_of_autograd_grad(recorded, clip):
    model = make_model()
    optimizer, expected = sgd(recorded, model), []
    for step in range(4):
        gradients = torch.autograd.grad(loss_of(model, 50, seed=step), list(model.parameters()))
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient
        expected.append(exact(norm_of(*model.parameters())))
        if clip:
            clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    assert recorded.norms() == expected
    assert recorded.losses() == [None] * 4
