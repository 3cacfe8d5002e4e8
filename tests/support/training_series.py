"""Gradient norms as trainings have them, with planted disturbances and where they are."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

GRACE_STEPS = 10  # a detection this soon after a disturbance still is one of it
FALSE_GROUP_STEPS = 20  # false detections so close together are one false alarm


@dataclass(frozen=True)
class Planted:
    """One disturbance: steps first to last (included), and how many times the level it reaches."""

    kind: Literal["single", "sustained", "ramp"]
    first: int
    last: int
    factor: float

    @property
    def group(self) -> str:
        """Return the row it belongs to."""
        if self.kind != "single":
            return self.kind
        return "x2-3" if self.factor < 3 else "x3-10" if self.factor < 10 else "x10+"


@dataclass
class Series:
    """Values and what was planted in them."""

    values: list[float]
    planted: list[Planted] = field(default_factory=list)


def training_series(seed: int, steps: int = 4000, disturbed: bool = True) -> Series:
    """Return a decaying norm with a warm-up transient, level changes and AR(1) heavy-tailed noise.

    Disturbances: single ones (1-3 steps, x2-x100), sustained ones (10-200 steps, x1.8-x10) and, in most
    series, a ramp (to x2-5 within 200-500 steps).
    """
    rng = random.Random(seed)
    freedom = 4.0 / (1.0 - rng.random())  # 4 to infinity, half of them below 8
    sd, memory = rng.uniform(0.05, 0.3), rng.uniform(0.0, 0.7)
    changes = sorted(rng.randrange(500, steps - 300) for _ in range(rng.randint(2, 4)))
    factors = [rng.uniform(0.5, 0.9) for _ in changes]
    decay, depth = rng.uniform(300, 1500), rng.uniform(0.5, 3.0)
    noise, values = 0.0, []
    for step in range(steps):
        tail = rng.gauss(0, 1)
        tail /= math.sqrt(rng.gammavariate(freedom / 2, 2 / freedom) * freedom / (freedom - 2))
        noise = memory * noise + math.sqrt(1 - memory * memory) * sd * tail
        level = 1.0 + depth * math.exp(-step / decay) + 3.0 * math.exp(-step / 30)
        level *= math.prod(f for at, f in zip(changes, factors, strict=True) if step >= at)
        values.append(level * math.exp(noise))
    series = Series(values)
    if disturbed:
        _plant(series, rng)
    return series


def _plant(series: Series, rng: random.Random) -> None:
    """Disturb the series at places of their own, from step 300 on."""
    steps, at = len(series.values), 300
    kinds = ["single"] * 10 + ["sustained"] * 4 + ["ramp"] * (rng.random() < 0.9)
    rng.shuffle(kinds)
    for kind in kinds:
        if kind == "single":
            length, factor = rng.randint(1, 3), math.exp(rng.uniform(math.log(2), math.log(100)))
        elif kind == "sustained":
            length, factor = rng.randint(10, 200), math.exp(rng.uniform(math.log(1.8), math.log(10)))
        else:
            length, factor = rng.randint(200, 500), rng.uniform(2, 5)
        if at + length + 50 > steps:
            break
        for step in range(at, at + length):
            rise = (step - at + 1) / length if kind == "ramp" else 1.0
            series.values[step] *= 1.0 + (factor - 1.0) * rise
        series.planted.append(Planted(kind, at, at + length - 1, factor))  # type: ignore[arg-type]
        at += length + rng.randint(60, 330)


@dataclass
class Score:
    """What a detector found of what was planted."""

    planted: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    false_alarms: int = 0
    steps: int = 0

    def add(self, series: Series, detected: Sequence[bool], kinds: Sequence[str]) -> None:
        """Count one series; only disturbances of these kinds must be found, others may be."""
        inside = set()
        for each in series.planted:
            reach = range(each.first, each.last + GRACE_STEPS + 1)
            inside.update(reach)
            if each.kind in kinds:
                self.planted[each.group] = self.planted.get(each.group, 0) + 1
                hit = any(step < len(detected) and detected[step] for step in reach)
                self.found[each.group] = self.found.get(each.group, 0) + hit
        last = -FALSE_GROUP_STEPS
        for step, flag in enumerate(detected):
            if flag and step not in inside and step - last >= FALSE_GROUP_STEPS:
                self.false_alarms += 1
                last = step
        self.steps += len(detected)

    def recall(self, *groups: str) -> float:
        """Return the share found of these groups, of all if none is named."""
        names = groups or tuple(self.planted)
        return sum(self.found[n] for n in names) / sum(self.planted[n] for n in names)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, by disturbances."""
        hits = sum(self.found.values())
        precision, recall = hits / max(hits + self.false_alarms, 1), self.recall()
        return 2 * precision * recall / (precision + recall)

    @property
    def false_per_10k(self) -> float:
        """False alarms per 10,000 steps."""
        return 1e4 * self.false_alarms / self.steps
