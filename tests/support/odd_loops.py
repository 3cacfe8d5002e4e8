"""Loops that clip, wrap and share out in odd ways, for tests of what the tap makes of them."""

import math

import torch
from small_training import exact, loss_of, norm_of
from thermograd.ingest.capture.tap import StepTap


class Recorded:
    """A tap that watches, and what it said."""

    def __init__(self):
        self.rows, self.notes = [], []
        self.tap = StepTap(lambda **row: self.rows.append(row), note=self._note)

    def _note(self, text, **detail):
        self.notes.append(text)

    def __enter__(self):
        self.tap.start()
        return self

    def __exit__(self, *error):
        self.tap.stop()
        assert self.tap.guard.failures == 0

    def norms(self):
        return [row["grad_norm"] for row in self.rows]

    def losses(self):
        return [row["loss"] for row in self.rows]

    def said(self, word):
        return [text for text in self.notes if word in text]


def steps(model, optimizer, treat, count=4, factor=50.0, after=lambda: None, micro=1):
    """Train; `treat` is what the script does to gradients before it steps. Return the norms before that."""
    expected = []
    for step in range(count):
        optimizer.zero_grad()
        for part in range(micro):
            loss_of(model, factor * (1 + step % 3), seed=10 * step + part).backward()
        expected.append(exact(norm_of(*model.parameters())))
        treat(list(model.parameters()))
        optimizer.step()
        after()
    return expected


def sgd(recorded, model, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, **options)
    if recorded.is_watching:
        recorded.tap.watch(optimizer)
    return optimizer


def total(parameters):
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters))


def scale_in_place(parameters, factor):
    for p in parameters:
        p.grad.mul_(factor)


def replace(parameters, factor):
    for p in parameters:
        p.grad = p.grad * factor


def scale_data(parameters, factor):
    for p in parameters:
        p.grad.data.mul_(factor)


def scale_together(parameters, factor):
    torch._foreach_mul_([p.grad for p in parameters], factor)


def normalize_each(parameters):
    for p in parameters:
        p.grad.div_(p.grad.norm() + 1e-12)


def clamp(parameters, bound=0.05):
    for p in parameters:
        p.grad.clamp_(-bound, bound)


def clamp_data(parameters):
    for p in parameters:
        p.grad.data.clamp_(-0.05, 0.05)


def adaptive(parameters, factor=0.01):
    for p in parameters:
        bound = factor * p.detach().norm().clamp_min(1e-3)
        p.grad.copy_(torch.where(p.grad.norm() > bound, p.grad * (bound / p.grad.norm()), p.grad))


def to_bound(how, bound=0.5):
    return lambda parameters: how(parameters, min(1.0, bound / total(parameters)))
