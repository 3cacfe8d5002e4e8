"""Whether a plan holds: experiments of the size and length that the first minutes promised power .9 for.

``python benchmarks/experiment_plan.py [R [WORLD ...]]``: in each world R runs (500). The first five minutes
of a run make a plan; its experiment has the effect that the plan calls the smallest of 30 minutes, or lasts
as long as the plan asks for an effect of .5 sd (of at most 8 hours). How often the test finds it is the power
found.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.heat.blocks import blocks_of
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.heat.inversion import combined
from thermograd.analysis.experiment.heat.whitening import whitened
from thermograd.analysis.experiment.plan import make_plan
from thermograd.analysis.experiment.switchback import MEMORIES_S, analyze_switchback

World = Callable[[np.random.Generator, int], Floats]

STEP_S, BLOCK_STEPS, TAU_S = 0.5, 120, 20.0
FIRST = 600  # steps that the plan rests on
MINUTES, LONGEST = 30.0, 480.0
REDRAWS, ALPHA = 999, 0.05


def autoregression(rng: np.random.Generator, size: int, memory: float, tails: float = 0.0) -> Floats:
    """Return an AR(1) of sd 1; `tails`: degrees of freedom of its shocks, 0 for normal ones."""
    shocks = rng.standard_t(tails, size + 4000) if tails else rng.normal(size=size + 4000)
    values = lfilter([1.0], [1.0, -memory], shocks)[4000:]
    return np.asarray(values * np.sqrt(1.0 - memory**2))


def white(rng: np.random.Generator, size: int) -> Floats:
    """Return noise without a memory."""
    return autoregression(rng, size, 0.0)


def memory(rng: np.random.Generator, size: int) -> Floats:
    """Return noise that remembers some steps."""
    return autoregression(rng, size, 0.8)


def falling(rng: np.random.Generator, size: int) -> Floats:
    """Return a loss that falls, with a memory."""
    place = np.arange(size) / 3600.0
    return 6.0 * np.exp(-3.0 * place) + 0.5 * place + autoregression(rng, size, 0.8)


def wandering(rng: np.random.Generator, size: int) -> Floats:
    """Return a series that wanders beside white noise, over minutes."""
    return autoregression(rng, size, 0.0) + 0.5 * autoregression(rng, size, 0.99)


def wild(rng: np.random.Generator, size: int) -> Floats:
    """Return a memory with heavy tails."""
    return autoregression(rng, size, 0.8, tails=3.0)


def strong_memory(rng: np.random.Generator, size: int) -> Floats:
    """Return a series that remembers 50 steps."""
    return autoregression(rng, size, 0.98)


WORLDS = (white, memory, falling, wandering, wild, strong_memory)


def p_of(values: Floats, size: float, rng: np.random.Generator, check: bool = False) -> float:
    """Return p of an effect that is put into a series, under coins drawn now.

    As `analyze_switchback` computes it, without sizes and responses; `check` compares.
    """
    pairs = values.size // (2 * BLOCK_STEPS)
    first = rng.integers(0, 2, pairs)
    hot = np.repeat(np.column_stack([first, 1 - first]).ravel(), BLOCK_STEPS).astype(np.float64)
    pair: Ints = np.repeat(np.arange(pairs), 2 * BLOCK_STEPS)
    blocks = blocks_of(STEP_S * np.arange(values.size), hot, pair)
    kept = np.exp(-STEP_S / TAU_S)
    heat = lfilter([1.0 - kept], [1.0, -kept], hot - 0.5) / (1.0 - np.exp(-BLOCK_STEPS * STEP_S / TAU_S))
    clean = whitened(values + size * heat, pairs)
    assert clean is not None
    weights = clean.weights(clean.innovations)
    scores = np.array([blocks.by_pair_through(memory_s, weights) for memory_s in MEMORIES_S])
    seed = int(rng.integers(2**31))
    statistics = np.abs(redrawn_coins(pairs, REDRAWS, seed) @ combined(scores))
    p = randomisation_p(float(statistics[0]), statistics[1:])
    if check:
        times = STEP_S * np.arange(values.size)
        (effect,) = analyze_switchback(
            {"y": values + size * heat}, times, hot, pair, redraws=REDRAWS, seed=seed
        )
        assert effect.p == p, (effect.p, p)
    return p


def main(count: int, names: list[str]) -> None:
    """Print how often the experiments found what they were planned for; a line after every 100 runs."""
    print(
        f"R = {count}; blocks of {BLOCK_STEPS * STEP_S:.0f} s, time constant {TAU_S:.0f} s; power planned .9"
    )
    print("world               R  30 minutes: size (sd)  found [95 %]      for .5 sd: minutes  found [95 %]")
    for number, world in enumerate(WORLDS):
        if names and world.__name__ not in names:
            continue
        found = Found([], [], [], [])
        for run in range(count):
            _try_out(world, np.random.default_rng([run, number]), run, found)
            if (run + 1) % 100 == 0 or run + 1 == count:
                print(f"{world.__name__:14}  {run + 1:5}  {found.line()}", flush=True)


class Found(NamedTuple):
    """What the experiments of a world found, by planned size and by planned length."""

    by_size: list[bool]
    sizes: list[float]
    by_length: list[bool]
    lengths: list[float]

    def line(self) -> str:
        """Return it in a line."""
        length = np.median(self.lengths) if self.lengths else np.nan
        by_length = f"{length:18.0f}  {_share(self.by_length)} of {len(self.by_length)}"
        return f"{np.median(self.sizes):21.2f}  {_share(self.by_size)}  {by_length}"


def _try_out(world: World, rng: np.random.Generator, run: int, found: Found) -> None:
    values = world(rng, FIRST + round(LONGEST * 60 / STEP_S))
    first, later = values[:FIRST], values[FIRST:]
    plan = make_plan({"loss": first}, STEP_S, tau_s=TAU_S, effect_sd=0.5, minutes=(MINUTES,), seed=run)
    assert plan is not None
    (row,) = plan.rows
    if row.effect is not None and row.effect_sd is not None:
        found.sizes.append(row.effect_sd)
        p = p_of(later[: round(MINUTES * 60 / STEP_S)], row.effect, rng, check=run == 0)
        found.by_size.append(p <= ALPHA)
    needed = plan.needed_minutes["loss"]
    if needed is not None and needed <= LONGEST:
        found.lengths.append(needed)
        p = p_of(later[: round(needed * 60 / STEP_S)], 0.5 * plan.sd["loss"], rng)
        found.by_length.append(p <= ALPHA)


def _share(found: list[bool]) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    n = max(len(found), 1)
    share, z = sum(found) / n, 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{share:.3f} [{middle - half:.2f}, {middle + half:.2f}]"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, sys.argv[2:])
