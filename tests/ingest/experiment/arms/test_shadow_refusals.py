"""What a shadow step cannot leave without a trace is refused, in a sentence, and nothing has changed then."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from shadow_models import Pulser  # noqa: E402
from thermograd.ingest.experiment.arms.arm import Refusal  # noqa: E402
from thermograd.ingest.experiment.arms.shadow import ShadowArm  # noqa: E402
from torch import nn  # noqa: E402


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x)


def outcome(model, batch=None, optimizer=None, call=None, arm=None, steps=4):
    """Train some steps; return the refusal's words, or None, and what all gradients and weights came to."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    pulse = Pulser([optimizer], arm) if arm is not False else lambda: None
    batch = batch if batch is not None else torch.ones(4, 3)
    refused = None
    for _ in range(steps):
        output = (call or model)(batch)
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.square().mean().backward()
        optimizer.step()
        try:
            if refused is None:
                pulse()
        except Refusal as error:
            refused = str(error)
    if arm is not False:
        pulse.arm.close()
    assert not any(m._forward_pre_hooks for m in model.modules())
    state = [(p.tolist(), None if p.grad is None else p.grad.tolist()) for p in model.parameters()]
    calls, OnItsClass.calls = OnItsClass.calls, 0
    return refused, (state, calls, getattr(getattr(model, "cache", None), "calls", None))


# By the name of a class: neither FSDP nor these libraries need to be there, nor several ranks.
FSDP = type("FullyShardedDataParallel", (Plain,), {})
FSDP2 = type("FSDPLinear", (type("FSDPModule", (), {}), Plain), {})
Engine = type("DeepSpeedEngine", (Plain,), {})
Megatron = type("GPTModel", (Plain,), {"__module__": "megatron.core.models.gpt"})
Transformer = type("Linear", (Plain,), {"__module__": "transformer_engine.pytorch"})


class DTensor(torch.Tensor):
    pass


def with_main_grad():
    model = Plain()
    model.layer.weight.main_grad = torch.zeros(2, 3)
    return model


def sharded():
    model = Plain()
    model.layer.weight = nn.Parameter(model.layer.weight.detach().as_subclass(DTensor))
    return model


def stepping_inside():
    model = Plain()
    model.layer.weight.register_post_accumulate_grad_hook(lambda p: None)
    return model


class Momentum(Plain):
    """Keeps a second network and moves it past autograd in each pass."""

    def __init__(self):
        super().__init__()
        self.teacher = nn.Linear(3, 2).requires_grad_(False)

    def forward(self, x):
        for mine, its in zip(self.layer.parameters(), self.teacher.parameters(), strict=True):
            its.data.mul_(0.9).add_(mine.data, alpha=0.1)
        return self.layer(x) - self.teacher(x)


class Renormed(Plain):
    def forward(self, x):
        with torch.no_grad():
            self.layer.weight.div_(self.layer.weight.norm())
        return self.layer(x)


class Cache:
    def __init__(self):
        self.calls = 0


class Cached(Plain):
    def __init__(self):
        super().__init__()
        self.cache = Cache()

    def forward(self, x):
        self.cache.calls += 1
        return self.layer(x)


class OnItsClass(Plain):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return self.layer(x)


class Hidden(Plain):
    """Holds a parameter where no copy can be put in its place."""

    def __init__(self):
        super().__init__()
        self.mine = lambda weight=self.layer.weight: weight

    def forward(self, x):
        return x @ self.mine().T


class NoFloats(Plain):
    def forward(self, x):
        return {"ids": self.layer(x).argmax(-1)}


class Strict(Plain):
    def forward(self, x):
        if not x.any():
            raise ValueError("an empty batch")
        return self.layer(x)


class Batch:
    def __init__(self):
        self.x = torch.ones(4, 3)


class OfABatch(Plain):
    def forward(self, batch):
        return self.layer(batch.x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (FSDP, "FSDP, which gathers"),
        (FSDP2, "FSDP2, which gathers"),
        (Engine, "DeepSpeed"),
        (Megatron, "Megatron"),
        (Transformer, "Transformer Engine"),
        (sharded, "DTensor: FSDP2 or tensor parallelism"),
        (with_main_grad, "main_grad"),
        (stepping_inside, "post_accumulate_grad_hook"),
        (lambda: nn.DataParallel(Plain()), "DataParallel, which spreads"),
        (Momentum, "writes to parameters or buffers past"),
        (Renormed, "writes to its parameters"),
        (Cached, "state where it cannot be put back (Cached.cache.calls)"),
        (OnItsClass, "state where it cannot be put back (OnItsClass.calls)"),
        (Hidden, "uses parameters that it holds where they cannot be exchanged"),
        (NoFloats, "returns nothing to go backward from"),
        (Strict, "fails (ValueError: an empty batch)"),
    ],
    ids=itertools.count(),
)
def test_a_refusal_says_what_it_is_and_leaves_the_training_as_without(make, words):
    refused, pulsed = outcome(make())
    assert refused.startswith("shadow steps are not given: the training uses ")
    assert words in refused
    assert refused.endswith("the duty cycle (arm=duty) is safe here")
    assert pulsed == outcome(make(), arm=False)[1]


class Hooked(Plain):
    """Has a script's hooks on its outputs and gradients, and counts what they see."""

    def __init__(self):
        super().__init__()
        seen = []
        self.count = lambda: len(seen)
        self.layer.register_forward_hook(lambda module, args, output: seen.append("forward"))
        self.layer.register_full_backward_hook(lambda module, into, out: seen.append("backward"))
        self.layer.weight.register_hook(lambda gradient: seen.append("gradient"))

    def forward(self, x):
        return self.layer(x) * (1 + self.count())


def test_hooks_of_a_script_see_no_shadow_pass():
    batch = torch.ones(4, 3, requires_grad=True)  # torch warns of a backward hook without
    assert outcome(Hooked(), batch) == outcome(Hooked(), batch, arm=False)


@pytest.mark.parametrize(
    ("make", "batch", "call", "words"),
    [
        (OfABatch, Batch(), None, "holds a Batch, of which no shaped copy can be made"),
        (Plain, None, lambda model: model.layer.weight.sum(), "no forward pass was seen of a module"),
    ],
    ids=["an object of a script", "no module is called"],
)
def test_what_cannot_be_called_again_is_refused(make, batch, call, words):
    model = make()
    refused, _ = outcome(model, batch, call=(lambda _: call(model)) if call else None, steps=10)
    assert words in refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shapes": "zeros,ones"}, "shapes is 'zeros,ones'; allowed: one or several of zeros, noise, token"),
        ({"shapes": "zeros,zeros"}, "allowed: one or several"),
        ({"shapes": []}, "allowed: one or several"),
        ({"repeats": 0}, "repeats is 0; allowed: a whole number from 1 to 1000"),
        ({"repeats": True}, "allowed: a whole number"),
    ],
)
def test_options_that_are_not_allowed_are_said_in_one_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        ShadowArm.from_options(options)


def test_a_pulse_of_several_passes_is_of_the_shapes_that_were_asked_for():
    arm = ShadowArm.from_options({"shapes": "token, zeros", "repeats": 3, "arm": "shadow"})
    assert (arm.kinds, arm.options()) == (("token", "zeros"), {"shapes": "token,zeros", "repeats": 3})
    model = Plain()
    pulse = Pulser([torch.optim.SGD(model.parameters(), lr=0.01)], arm)
    passes = []
    model.layer.__class__ = type("Counted", (nn.Linear,), {"forward": lambda self, x: counted(self, x)})

    def counted(layer, x):
        passes.append(x.unique().tolist())
        return nn.functional.linear(x, layer.weight, layer.bias)

    for _ in range(4):
        model(torch.full((4, 3), 7.0)).sum().backward()
        pulse()
    arm.close()
    kind, done = pulse.done[0]
    value = {"token": [1.0], "zeros": [0.0]}
    assert passes == [[7.0]] * 3 + [value["token"], value["zeros"], [7.0]] + [value[kind]] * 3
    assert done.detail["passes"] == 3
