"""Loops in which several odd things come together: norm and number of rows, computed once more."""

import math

import pytest

torch = pytest.importorskip("torch")

from odd_loops import Recorded, scale_in_place, steps, to_bound  # noqa: E402
from small_training import batch, exact, loss_of, make_model, norm_of  # noqa: E402
from torch.nn.utils import clip_grad_norm_  # noqa: E402

by_hand = to_bound(scale_in_place)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=1e-3)


def by_turns(_):
    model, calls = make_model(), iter(range(30))
    return steps(
        model, sgd(model), lambda ps: clip_grad_norm_(ps, 0.1) if next(calls) % 2 else by_hand(ps), count=30
    )


def gan(recorded, is_both_first=False, critic_steps=1):
    generator, critic = make_model(1), torch.nn.Linear(1, 1)
    of_critic, of_generator = sgd(critic), sgd(generator)
    expected = []
    for step in range(6):
        made = generator(batch(step))
        if is_both_first:
            of_critic.zero_grad()
            of_generator.zero_grad()
            loss = (critic(made.detach()) - 1).square().mean()
            critic(made).square().mean().backward(inputs=list(generator.parameters()))
            loss.backward()
            expected += [norm_of(*critic.parameters()), norm_of(*generator.parameters())]
            of_critic.step()
            of_generator.step()
            continue
        for _ in range(critic_steps):
            of_critic.zero_grad()
            (critic(made.detach()) - 1).square().mean().backward()
            expected.append(norm_of(*critic.parameters()))
            to_bound(scale_in_place, 1e-2)(list(critic.parameters()))
            of_critic.step()
        of_generator.zero_grad()
        critic(made).square().mean().backward()
        expected.append(norm_of(*generator.parameters()))
        of_generator.step()
    return expected


def two_under_a_scaler(clips):
    def loop(_):
        model, expected = make_model(), []
        optimizers, scaler = [sgd(model[0]), sgd(model[2])], torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step in range(8):
            model.zero_grad()
            scale = scaler.get_scale()
            factor = math.inf if step == 3 and not clips else 50
            scaler.scale(loss_of(model, factor, seed=step)).backward()
            expected.append(norm_of(*model.parameters()) / scale)
            if clips:
                for optimizer in optimizers:
                    scaler.unscale_(optimizer)
                clip_grad_norm_(model.parameters(), 0.5)
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        return expected

    return loop


def unscaled_by_hand_and_clipped(_):
    model, expected = make_model(), []
    optimizer = sgd(model)
    for step in range(12):
        optimizer.zero_grad()
        (loss_of(model, 50 * (1 + step % 3), seed=step) * 4096).backward()
        scale_in_place(model.parameters(), 1 / 4096)
        expected.append(norm_of(*model.parameters()))
        clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return expected


def two_of_four_watched(recorded):
    model = make_model()
    parameters = list(model.parameters())
    optimizers = [torch.optim.SGD([p], lr=1e-3) for p in parameters]
    recorded.tap.watch(*optimizers[:2])
    expected = []
    for step in range(12):
        model.zero_grad()
        loss_of(model, 50, seed=step).backward()
        expected.append(norm_of(*parameters[:2]))
        clip_grad_norm_(parameters, 0.1)
        for optimizer in optimizers:
            optimizer.step()
    return expected


def thawing(is_frozen_first, treat):
    def loop(_):
        model, expected = make_model(), []
        optimizer = sgd(model)
        for step in range(12):
            for p in model[0].parameters():
                p.requires_grad_((step >= 6) == is_frozen_first)
            optimizer.zero_grad()
            loss_of(model, 50, seed=step).backward()
            expected.append(norm_of(*model.parameters()))
            treat([p for p in model.parameters() if p.grad is not None])
            optimizer.step()
        return expected

    return loop


def in_precision(dtype, treat, is_after):
    def loop(_):
        model, expected = make_model().to(dtype), []
        optimizer = sgd(model)
        for step in range(12):
            optimizer.zero_grad()
            loss = (model(batch(step).to(dtype)) ** 2).mean().float()
            (loss * 50 * (1 + step % 3)).backward()
            before = norm_of(*model.parameters())
            treat(list(model.parameters()))
            expected.append(norm_of(*model.parameters()) if is_after else before)
            optimizer.step()
        return expected

    return loop


def closure_that_clips(_):
    model, last, expected = make_model(), [], []
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    for step in range(3):

        def closure(step=step):
            optimizer.zero_grad()
            loss = loss_of(model, 50, seed=step)
            loss.backward()
            last[:] = [norm_of(*model.parameters())]
            clip_grad_norm_(model.parameters(), 1.0)
            return loss

        optimizer.step(closure)
        expected += last
    return expected


def penalized(_):
    model, expected = make_model(), []
    optimizer = sgd(model)
    for step in range(5):
        optimizer.zero_grad()
        loss = loss_of(model, 5, seed=step)
        gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        (loss + 1e-3 * sum((g**2).sum() for g in gradients)).backward()
        expected.append(norm_of(*model.parameters()))
        clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    return expected


def a_new_optimizer_each_step(_):
    model, expected = make_model(), []
    for step in range(6):
        optimizer = sgd(model)
        model.zero_grad()
        loss_of(model, 50, seed=step).backward()
        expected.append(norm_of(*model.parameters()))
        optimizer.step()
    return expected


def average(parameters):
    scale_in_place(parameters, 0.3)


LOOPS = {
    "clipped by torch and by hand in turn": by_turns,
    "a GAN clipped by hand": gan,
    "a GAN of several critic steps": lambda recorded: gan(recorded, critic_steps=3),
    "a GAN of two passes and then two steps": lambda recorded: gan(recorded, is_both_first=True),
    "a scaler, two optimizers, one clip": two_under_a_scaler(True),
    "a scaler, two optimizers, an overflow": two_under_a_scaler(False),
    "unscaled by hand and clipped by torch": unscaled_by_hand_and_clipped,
    "two of four watched, all clipped": two_of_four_watched,
    "frozen on the way": thawing(False, lambda ps: clip_grad_norm_(ps, 0.1)),
    "thawed on the way, clipped by hand": thawing(True, by_hand),
    "float64 by hand": in_precision(torch.float64, by_hand, False),
    "bfloat16 by hand": in_precision(torch.bfloat16, by_hand, False),
    "bfloat16 averaged": in_precision(torch.bfloat16, average, True),
    "float64 averaged": in_precision(torch.float64, average, True),
    "a closure that clips": closure_that_clips,
    "a gradient penalty": penalized,
    "a new optimizer each step": a_new_optimizer_each_step,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_has_its_norms_and_its_number_of_rows(loop):
    with Recorded() as recorded:
        expected = LOOPS[loop](recorded)
    assert recorded.norms() == [exact(norm) if isinstance(norm, float) else norm for norm in expected]


def test_of_a_part_that_is_watched_nothing_is_said_of_clipping_by_hand():
    with Recorded() as recorded:
        two_of_four_watched(recorded)
    assert recorded.said("by hand") == []
