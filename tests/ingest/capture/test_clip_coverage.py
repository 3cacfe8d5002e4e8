"""Any number of clip calls, for all or a part of the parameters, and looks that no step uses."""

import math

import pytest

torch = pytest.importorskip("torch")

from odd_loops import (  # noqa: E402
    sgd,
    steps,
)
from small_training import exact, loss_of, make_model, norm_of  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)

# -- many clip calls, and calls for a part -----------------------------------------------------------


def wide_model(parts):
    torch.manual_seed(0)
    return torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(parts)])


def one_by_one(clip):
    def treat(parameters):
        for p in parameters:
            clip(p)

    return treat


CLIPS = {
    "norm": lambda p: clip_grad_norm_(p, 1e-3),
    "foreach": lambda p: clip_grad_norm_(p, 1e-3, foreach=False),
    "value": lambda p: clip_grad_value_(p, 1e-4),
    "infinity": lambda p: clip_grad_norm_(p, 1e-3, norm_type=math.inf),
    "with_norm": lambda p: clip_grads_with_norm_(p, 1e-3, get_total_norm([p.grad])),
    "several": lambda p: (clip_grad_value_(p, 1e-2), clip_grad_norm_(p, 1e-3)),
}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("parts", [3, 40])
def test_any_number_of_parameters_clipped_one_by_one(recorded, clip, parts):
    model = wide_model(parts)

    def loss():
        return sum(layer(torch.ones(2, 4)).square().mean() for layer in model)

    optimizer, expected = sgd(recorded, model), []
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        expected.append(exact(norm_of(*model.parameters())))
        one_by_one(CLIPS[clip])(model.parameters())
        optimizer.step()
    assert recorded.norms() == expected


def test_a_thousand_clip_calls_in_a_step(recorded):
    model = wide_model(500)
    optimizer, expected = sgd(recorded, model), []
    for _ in range(2):
        optimizer.zero_grad()
        sum(layer(torch.ones(2, 4)).square().mean() for layer in model).backward()
        expected.append(exact(norm_of(*model.parameters())))
        one_by_one(CLIPS["norm"])(model.parameters())
        optimizer.step()
    assert recorded.norms() == expected


PARTS = {
    "first": lambda m: clip_grad_norm_(m[0].parameters(), 0.1),
    "last": lambda m: clip_grad_norm_(m[2].parameters(), 0.1),
    "bounds of their own": lambda m: [
        clip_grad_norm_(part.parameters(), bound) for part, bound in ((m[0], 0.1), (m[2], 5.0))
    ],
    "part and then all": lambda m: [clip_grad_norm_(part.parameters(), 0.1) for part in (m[0], m)],
    "all and then part": lambda m: [clip_grad_norm_(part.parameters(), 0.1) for part in (m, m[0])],
    "overlapping": lambda m: [
        clip_grad_norm_([m[0].weight, m[0].bias], 0.1),
        clip_grad_norm_([m[0].bias, m[2].bias], 0.1),
    ],
    "by value": lambda m: clip_grad_value_(m[0].parameters(), 0.01),
    "with the total of a part": lambda m: clip_grads_with_norm_(
        m.parameters(), 0.1, get_total_norm([p.grad for p in m[0].parameters()])
    ),
    "with a total of another kind": lambda m: clip_grads_with_norm_(
        m.parameters(), 0.1, get_total_norm([p.grad for p in m.parameters()], norm_type=1.0)
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_clipped(recorded, part):
    model = make_model()
    optimizer = sgd(recorded, model)
    assert recorded.norms() == []
    expected = steps(model, optimizer, lambda _: PARTS[part](model), count=12)
    assert recorded.norms() == expected


def test_more_is_clipped_than_the_optimizer_steps_on(recorded):
    model = make_model()
    part = torch.optim.SGD(model[0].parameters(), lr=1e-3)
    recorded.tap.watch(part)
    for step in range(12):
        model.zero_grad()
        loss_of(model, 50, seed=step).backward()
        expected = norm_of(*model[0].parameters())
        clip_grad_norm_(model.parameters(), 0.1)
        part.step()
        assert recorded.norms()[-1] == exact(expected)


def test_frozen_parameters_in_the_clip_call_change_nothing(recorded):
    model = make_model()
    for p in model[0].parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=1e-3)
    assert steps(model, optimizer, lambda ps: clip_grad_norm_(ps, 0.1)) == recorded.norms()


# -- looks at gradients that no step uses ------------------------------------------------------------

LOOKS = {
    "after the step": lambda m, o: clip_grad_norm_(m.parameters(), math.inf),
    "twice": lambda m, o: [clip_grad_norm_(m.parameters(), math.inf) for _ in range(2)],
    "layer by layer": lambda m, o: [clip_grad_norm_(part.parameters(), math.inf) for part in (m[0], m[2])],
    "with a bound": lambda m, o: clip_grad_norm_(m.parameters(), 0.01),
    "by value": lambda m, o: clip_grad_value_(m.parameters(), 0.01),
    "after zero_grad": lambda m, o: (o.zero_grad(), clip_grad_norm_(m.parameters(), math.inf)),
    "after zero_grad in place": lambda m, o: (
        o.zero_grad(set_to_none=False),
        clip_grad_norm_(m.parameters(), math.inf),
    ),
    "in an evaluation": lambda m, o: (
        o.zero_grad(),
        loss_of(m, 3).backward(),
        clip_grad_norm_(m.parameters(), math.inf),
        o.zero_grad(),
    ),
}


@pytest.mark.parametrize("clip", [0.1, None])
@pytest.mark.parametrize("look", LOOKS)
def test_a_norm_for_a_log_line_is_no_step(recorded, look, clip):
    model = make_model()
    optimizer = sgd(recorded, model)
    expected = steps(
        model,
        optimizer,
        (lambda ps: clip_grad_norm_(ps, clip)) if clip else lambda ps: None,
        count=5,
        after=lambda: LOOKS[look](model, optimizer),
    )
    assert recorded.norms() == expected
    assert not any(row["skipped"] for row in recorded.rows)
