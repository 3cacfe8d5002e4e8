"""Models that keep more than their parameters, each with a batch; and who gives pulses to a plain loop."""

import random
from types import SimpleNamespace

import torch
from thermograd.ingest.experiment.arms.arm import Scene
from thermograd.ingest.experiment.arms.shadow import ShadowArm
from thermograd.store.experiment.schedules import Pulses, Schedule
from torch import nn
from torch.utils.checkpoint import checkpoint


class Vision(nn.Module):
    """Running statistics, dropout, both kinds of spectral normalisation, counts of its calls."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()
        )
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3))
        self.old = nn.utils.spectral_norm(nn.Linear(3, 3))
        self.calls, self.seen, self.last = 0, [], None
        self.register_buffer("average", torch.zeros(3))

    def forward(self, x):
        y = self.old(self.head(self.body(x)))
        self.calls += 1
        self.seen.append(self.calls)
        self.average.mul_(0.9).add_(y.detach().mean(0))
        self.last = y.detach()
        return y * (1 + self.average) + 0.01 * self.calls

    batch = staticmethod(lambda i: ((torch.randn(4, 3, 6, 6),), {}))


class Language(nn.Module):
    """Called by keywords; layers left out by Python's chance, checkpoints of both kinds, tied weights."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2)) for _ in range(4))
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, *, input_ids, attention_mask=None, labels=None):
        x = self.embed(input_ids) * attention_mask[..., None]
        for place, layer in enumerate(self.layers):
            if random.random() < 0.5:
                x = x + checkpoint(layer, x, use_reentrant=bool(place % 2))
        logits = self.out(x)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return SimpleNamespace(loss=loss, logits=logits)

    @staticmethod
    def batch(i):
        ids = torch.randint(0, 11, (3, 5 + i % 2))
        ids[:, 0] = 10
        return (), {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}


class Recurrent(nn.Module):
    """A hidden state from step to step, in a tuple, and a generator of its own; a tuple goes in."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 4)
        self.hidden = None
        self.chance = torch.Generator().manual_seed(3)

    def forward(self, pair):
        x, (scale, _) = pair
        y, hidden = self.rnn(x + 0.1 * torch.randn(x.shape, generator=self.chance), self.hidden)
        self.hidden = tuple(h.detach() for h in hidden)
        return {"y": self.head(y) * scale, "n": 3}

    batch = staticmethod(lambda i: (((torch.randn(2, 5, 4), (torch.ones(2, 5, 1), None)),), {}))


MODELS = {kind.__name__: kind for kind in (Vision, Language, Recurrent)}


def loss_of(output):
    """Return a loss of what any of them returns."""
    if isinstance(output, dict):
        return output["y"].square().mean()
    return output.square().mean() if isinstance(output, torch.Tensor) else output.loss


class Pulser:
    """Gives a pulse after every step from the first that the arm is ready at, as its schedule draws them."""

    def __init__(self, optimizers, arm=None, model=None):
        self.arm = arm or ShadowArm(("zeros", "noise", "token"))
        self.notes = []
        self.scene = Scene(
            model=lambda: model,
            optimizers=lambda: optimizers,
            note=lambda text, **detail: self.notes.append((text, detail)),
        )
        self.schedule = Schedule("shadow", Pulses(1, 3, 1, self.arm.kinds), seed=7, start_step=0)
        self.step = 0
        self.ready = False
        self.done = []

    def __call__(self):
        self.step += 1
        if self.ready is False:
            self.ready = self.arm.prepare(self.scene)
            return
        assignment = self.schedule.assignment(self.step)
        self.arm.begin(assignment)
        self.arm.pulse(assignment)
        self.arm.after_step(self.step, None)
        self.done.append((assignment.kind, self.arm.end()))
