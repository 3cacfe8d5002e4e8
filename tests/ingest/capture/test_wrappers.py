"""Wrappers around optimizers, and optimizers of a script's own: one row a step."""

import copy

import pytest

torch = pytest.importorskip("torch")

from odd_loops import (  # noqa: E402
    Recorded,
    steps,
    total,
)
from small_training import exact, loss_of, make_model, norm_of  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
)

# -- wrappers ----------------------------------------------------------------------------------------


class Wrapping(torch.optim.Optimizer):
    """As ScheduleFreeWrapper and timm's Lookahead: no super().__init__, what steps is under another name."""

    def __init__(self, inner, name):
        vars(self)[name] = inner
        self._inner = name
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state

    def step(self, closure=None):
        return getattr(self, self._inner).step(closure)

    def zero_grad(self, set_to_none=True):
        getattr(self, self._inner).zero_grad(set_to_none)


class Plain:
    """A plain object."""

    def __init__(self, inner, name):
        vars(self)[name], self._inner = inner, name

    def step(self):
        getattr(self, self._inner).step()

    def zero_grad(self):
        getattr(self, self._inner).zero_grad()


class Slotted:
    __slots__ = ("inner", "name")

    def __init__(self, inner, name):
        self.inner, self.name = inner, name

    def step(self):
        self.inner.step()

    def zero_grad(self):
        self.inner.zero_grad()


class Listed(Plain):
    """Several in a list, as containers of optimizers have them."""

    def __init__(self, inner, name):
        super().__init__(inner, name)
        vars(self)[name] = [inner]

    def step(self):
        for inner in getattr(self, self._inner):
            inner.step()

    def zero_grad(self):
        for inner in getattr(self, self._inner):
            inner.zero_grad()


class Twice(Plain):
    """Steps twice inside."""

    def step(self):
        super().step()
        super().step()


class Hooked(torch.optim.Optimizer):
    """As SAM and LARC: with super().__init__, stepping what is inside."""

    def __init__(self, inner, name):
        vars(self)[name], self._inner = inner, name
        super().__init__(inner.param_groups, {})

    def step(self, closure=None):
        getattr(self, self._inner).step()


@pytest.mark.parametrize("kind", [Wrapping, Plain, Slotted, Listed, Twice, Hooked])
@pytest.mark.parametrize(
    "name", ["base", "base_optimizer", "optimizer", "_optimizer", "optim", "something_else"]
)
def test_a_watched_wrapper_makes_one_step_a_step(kind, name):
    model = make_model()
    wrapper = kind(torch.optim.SGD(model.parameters(), lr=1e-3), name)
    with Recorded() as recorded:
        recorded.tap.watch(wrapper)
        assert steps(model, wrapper, lambda ps: None) == recorded.norms()
        assert recorded.tap.never_stepped() == []


def test_wrappers_in_wrappers():
    model = make_model()
    wrapper = Plain(Wrapping(Hooked(torch.optim.SGD(model.parameters(), lr=1e-3), "base"), "optim"), "opt")
    with Recorded() as recorded:
        recorded.tap.watch(wrapper)
        assert steps(model, wrapper, lambda ps: clip_grad_norm_(ps, 0.1)) == recorded.norms()


class Own:
    """An optimizer of a script's own."""

    def __init__(self, parameters):
        self.params = list(parameters)

    def step(self):
        with torch.no_grad():
            for p in self.params:
                p -= 1e-3 * p.grad

    def zero_grad(self):
        for p in self.params:
            p.grad = None


@pytest.mark.parametrize("clip", [True, False])
def test_an_optimizer_of_a_scripts_own(clip):
    model = make_model()
    optimizer = Own(model.parameters())
    with Recorded() as recorded:
        recorded.tap.watch(optimizer)
        expected = steps(model, optimizer, lambda ps: clip_grad_norm_(ps, 0.1) if clip else None)
        assert recorded.norms() == expected
        assert None not in recorded.losses()


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimization, as its common implementation has it."""

    def __init__(self, parameters, rho=0.05):
        super().__init__(parameters, {"rho": rho})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=1e-3)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        scale = self.param_groups[0]["rho"] / total(self.param_groups[0]["params"])
        for p in self.param_groups[0]["params"]:
            self.state[p]["old"] = p.detach().clone()
            p.add_(p.grad, alpha=scale)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p in self.param_groups[0]["params"]:
            p.copy_(self.state[p]["old"])
        self.base_optimizer.step()

    def step(self, closure):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


@pytest.mark.parametrize("closure", [True, False])
@pytest.mark.parametrize("clip", [True, False])
def test_sam_is_one_row_with_the_gradient_that_it_steps_on(recorded, closure, clip):
    model = make_model()
    optimizer, expected = Sam(model.parameters()), []
    if recorded.is_watching:
        recorded.tap.watch(optimizer)

    def second(step):
        loss_of(model, 50, seed=step).backward()
        expected.append(exact(norm_of(*model.parameters())))
        if clip:
            clip_grad_norm_(model.parameters(), 0.1)

    for step in range(4):
        loss_of(model, 50, seed=step).backward()
        if closure:
            optimizer.step(lambda step=step: second(step))
        else:
            optimizer.first_step()
            second(step)
            optimizer.second_step()
        optimizer.zero_grad()
    assert recorded.norms() == expected
    assert recorded.tap.never_stepped() == []


def test_accelerates_wrapper_is_no_step_where_it_does_not_step(recorded):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = make_model()
    wrapped, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=0.01))
    if recorded.is_watching:
        recorded.tap.watch(optimizer)
    expected = []
    for micro in range(6):
        with accelerator.accumulate(wrapped):
            accelerator.backward(loss_of(wrapped, 50, seed=micro))
            if accelerator.sync_gradients:
                expected.append(exact(norm_of(*model.parameters())))
            optimizer.step()
            optimizer.zero_grad()
    assert recorded.norms() == expected


def test_a_watched_wrapper_can_be_copied():
    model = make_model()
    wrapper = Plain(torch.optim.SGD(model.parameters(), lr=1e-3), "base")
    with Recorded() as recorded:
        recorded.tap.watch(wrapper)
        assert copy.deepcopy(wrapper).base is not wrapper.base


def test_what_never_steps_is_told():
    model = make_model()
    wrapper = Plain(torch.optim.SGD(model.parameters(), lr=1e-3), "base")
    with Recorded() as recorded:
        recorded.tap.watch(wrapper)
        loss_of(model).backward()
        assert recorded.tap.never_stepped() == ["Plain around SGD"]
    assert recorded.rows == []
