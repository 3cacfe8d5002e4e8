"""Learning pulses: one step has another learning rate, and nobody sees it before or afterwards."""

import contextlib

import pytest

torch = pytest.importorskip("torch")

from thermograd.ingest.experiment.arms.arm import Refusal, Scene  # noqa: E402
from thermograd.ingest.experiment.arms.learning_rate import LearningRateArm  # noqa: E402
from thermograd.store.experiment.schedules import Pulses, Schedule  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_pre_hook  # noqa: E402

PULSE = Schedule("lr", Pulses(1, 3, 1), seed=0, start_step=3).assignment(0)
RATES = [0.1, 0.1 * 0.9, 0.1 * 0.9 * 0.9]


class Loop:
    """Steps on a gradient of ones with a scheduler; keeps how far each step went and the rates around it."""

    def __init__(self, arm, in_tensor=False):
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        rate = torch.tensor(0.1, dtype=torch.float64) if in_tensor else 0.1
        options = {"betas": (0.0, 0.0), "eps": 0.0, "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([self.weight], lr=rate, foreach=False, **options)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.arm, self.number, self.moved, self.after = arm, PULSE.pulse_step, [], []

    def step(self, closure=None):
        before = self.weight.item()
        self.weight.grad = torch.ones_like(self.weight)
        hook = register_optimizer_step_pre_hook(
            lambda optimizer, *_: self.arm.before_optimizer_step(optimizer)
        )
        try:
            self.optimizer.step(closure)
        finally:
            hook.remove()
            self.moved.append(before - self.weight.item())
            self.after.append(float(self.optimizer.param_groups[0]["lr"]))
        self.scheduler.step()
        self.number += 1
        self.arm.after_step(self.number, None)


@pytest.mark.parametrize("in_tensor", [False, True], ids=["a number", "a tensor"])
@pytest.mark.parametrize("factor", [2.0, 0.0])
def test_only_the_step_after_the_pulse_has_another_rate_and_the_scheduler_sees_none(factor, in_tensor):
    arm = LearningRateArm(factor)
    loop = Loop(arm, in_tensor)
    rate = loop.optimizer.param_groups[0]["lr"]
    loop.step()
    arm.begin(PULSE)
    arm.pulse(PULSE)
    loop.number = PULSE.pulse_step
    loop.step()
    loop.step()
    assert loop.moved == pytest.approx([RATES[0], factor * RATES[1], RATES[2]], abs=1e-12)
    assert loop.after == pytest.approx(RATES, abs=1e-15)
    assert not in_tensor or loop.optimizer.param_groups[0]["lr"] is rate
    done = arm.end()
    assert (done.steps, done.detail) == (1, {"factor": factor})
    arm.close()
    assert not loop.optimizer._optimizer_step_post_hooks
    assert not loop.optimizer._optimizer_step_pre_hooks


def test_a_step_that_raises_leaves_the_very_rate():
    arm = LearningRateArm(3.0)
    loop = Loop(arm)
    arm.begin(PULSE)
    arm.pulse(PULSE)
    seen = []

    def fail():
        seen.append(loop.optimizer.param_groups[0]["lr"])
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        loop.step(fail)
    assert seen == [0.1 * 3.0]
    assert loop.optimizer.param_groups[0]["lr"] == 0.1


def test_no_step_after_the_pulse_is_told_as_none():
    arm = LearningRateArm()
    arm.begin(PULSE)
    arm.pulse(PULSE)
    assert arm.end().steps == 0


def test_it_says_loudly_that_the_training_is_changed(caplog):
    notes = []
    LearningRateArm(0.0).prepare(Scene(note=lambda text, **detail: notes.append((text, detail))))
    assert "CHANGES THE TRAINING" in caplog.text
    assert notes[0][1] == {"learning_pulses": {"factor": 0.0}}
    assert "multiplied by 0 in one step" in notes[0][0]


@pytest.mark.parametrize("factor", [-1, 1, float("nan"), "2", True, 101, None])
def test_other_factors_are_refused_in_a_sentence(factor):
    with pytest.raises(ValueError, match="allowed: a number from 0 to 100, not 1"):
        LearningRateArm.from_options({"factor": factor})
    assert LearningRateArm.from_options({}).options() == {"factor": 2.0}


def test_ranks_that_could_drift_apart_get_no_learning_pulse():
    with pytest.raises(Refusal, match="different weights"):
        LearningRateArm().prepare(Scene(world_size=2))


def test_a_pulse_that_no_optimizer_step_took_is_not_applied():
    arm = LearningRateArm()
    arm.begin(PULSE)
    arm.pulse(PULSE)
    assert arm.end().failed == "no optimizer stepped after the pulse"
