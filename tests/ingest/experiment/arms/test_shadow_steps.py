"""Shadow steps leave no trace: the same seed with and without them, losses and weights equal bit by bit."""

import copy
import pickle
import random

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from shadow_models import MODELS, Pulser, loss_of  # noqa: E402
from thermograd.ingest.capture.tap import StepTap  # noqa: E402


def seeded(make):
    random.seed(1)
    numpy.random.seed(1)
    torch.manual_seed(1)
    return make()


def everything(model, *more):
    """Return all that a training has come to, as bytes."""
    state = [(name, value.numpy().tobytes()) for name, value in model.state_dict().items()]
    grads = [p.grad is not None and p.grad.numpy().tobytes() for p in model.parameters()]
    chance = torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()
    return state, grads, chance, more


def train(kind, is_pulsed, scaled=False, steps=12):
    """Train with two optimizers, of which one has gradients under way when the other has stepped."""
    model = seeded(MODELS[kind])
    parameters = list(model.parameters())
    often = torch.optim.SGD(parameters[1:], lr=0.02, momentum=0.9)
    seldom = torch.optim.AdamW(parameters[:1], lr=0.02)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, growth_interval=2)
    pulse = Pulser([often, seldom]) if is_pulsed else lambda: None
    rows, losses = [], []
    tap = StepTap(lambda **values: rows.append((values["loss"], values["grad_norm"])))
    tap.watch(often)
    tap.start()
    for step in range(steps):
        for part in range(2):
            args, kwargs = model.batch(2 * step + part)
            with torch.autocast("cpu", torch.bfloat16, enabled=scaled):
                loss = loss_of(model(*args, **kwargs))
            scaler.scale(loss).backward()
            losses.append(loss.item())
        scaler.step(often)
        scaler.update()
        pulse()
        often.zero_grad(set_to_none=step % 2 == 0)
        if step % 3 == 2:
            seldom.step()
            seldom.zero_grad()
    tap.stop()
    kept = [getattr(model, name, None) for name in ("calls", "seen")]
    if is_pulsed:
        pulse.arm.close()
        assert len(pulse.done) >= steps - 3
    return everything(model, losses, rows, kept, scaler.state_dict()), pulse


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("kind", "scaled"),
    [(kind, False) for kind in MODELS] + [("Vision", True), ("Language", True)],
)
def test_losses_weights_gradients_and_chance_are_those_without_pulses(kind, scaled):
    without, _ = train(kind, False, scaled)
    pulsed, pulse = train(kind, True, scaled)
    assert pulsed == without
    drawn = [kind for kind, _ in pulse.done]
    assert [done.detail["shape"] for _, done in pulse.done] == drawn
    assert set(drawn) == {"zeros", "noise", "token"}


def test_a_model_that_is_saved_or_copied_meanwhile_knows_nothing_of_us():
    model = seeded(MODELS["Language"])
    pulse = Pulser([torch.optim.SGD(model.parameters(), lr=0.01)])
    args, kwargs = model.batch(0)
    for _ in range(4):
        model(*args, **kwargs).loss.backward()
        pulse()
    assert len(pulse.done) == 1
    assert len(model._forward_pre_hooks) == 1
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert b"thermograd" not in pickle.dumps(other)
        assert other(*args, **kwargs).loss.isfinite()
    assert b"thermograd" not in pickle.dumps(model)
    pulse.arm.close()
    assert not model._forward_pre_hooks
