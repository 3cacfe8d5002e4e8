"""A small model, its loss, and its gradient norm by definition, for tests of what the tap sees."""

import math

import pytest
import torch


def exact(value):
    return pytest.approx(value, rel=1e-6, nan_ok=True)


def make_model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def batch(seed=0):
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))


def loss_of(model, factor=1.0, seed=0):
    return (model(batch(seed)) ** 2).mean() * factor


def norm_of(*parameters):
    """Return the norm of gradients by its definition, in double precision."""
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters if p.grad is not None))


def seen(rows):
    return [(row["loss"], row["grad_norm"], row["skipped"]) for row in rows]
