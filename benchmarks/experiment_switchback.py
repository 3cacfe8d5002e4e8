"""Measure heat to training on simulated switchbacks of known truth: false effects, power, intervals.

    python benchmarks/experiment_switchback.py                          # everything, 20 minutes on one core
    python benchmarks/experiment_switchback.py --only power --runs 100

Of each world so many runs of 30 minutes: 15 pairs of blocks of 60 s at 2 steps a second, each run with coins
of its own. Rates with exact 95 % binomial intervals. Every run is seeded by its world, --seed and its number.
"""

import argparse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.calibration.calibrate import binomial_interval
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.experiment.result import Effect
from thermograd.analysis.experiment.switchback import MEMORIES_S, analyze_switchback
from thermograd.store.experiment.e_process import EProcess, pair_contrasts
from thermograd.store.experiment.schedules import Schedule, Switchback

Rng = np.random.Generator
STEP_S = 0.5
PAIRS, BLOCK_STEPS = 15, 120
DUTY = 0.6  # of the cool blocks, where a world has one
REDRAWS = 999


@dataclass(frozen=True)
class World:
    """A training, and what heat does to it.

    `noise`: (rng, steps, seconds at which the steps end) to the outcome without heat, of sd 1; `size`: what
    lasting heat adds; `memory_s`: of the device; `duty`: of cool blocks, whose steps take so much longer.
    """

    name: str
    noise: Callable[[Rng, int, Floats], Floats]
    size: float = 0.0
    memory_s: float = 20.0
    duty: float = 1.0
    pairs: int = PAIRS
    block_steps: int = BLOCK_STEPS


@dataclass(frozen=True)
class Drawn:
    """One run of a world; `true`: what heat has made of the outcome after so many s."""

    outcome: Floats
    time_s: Floats
    hot: Floats
    pair: Ints
    heat: Floats


def drawn(world: World, rng: Rng) -> Drawn:
    """Draw the coins, let the device get warm, and add what heat does."""
    first = np.repeat(rng.random(world.pairs) < 0.5, world.block_steps).reshape(world.pairs, 1, -1)
    hot = np.concatenate([first, ~first], axis=1).ravel().astype(np.float64)
    took = np.where(hot > 0, STEP_S, STEP_S / world.duty)
    heat, last = np.empty(hot.size), 0.5
    for step, kept in enumerate(np.exp(-took / world.memory_s)):
        heat[step] = last = kept * last + (1.0 - kept) * hot[step]
    time_s = np.cumsum(took)
    outcome = world.noise(rng, hot.size, time_s) + world.size * heat
    return Drawn(outcome, time_s, hot, np.repeat(np.arange(world.pairs), 2 * world.block_steps), heat)


def analysed(run: Drawn, seed: int, sizes: bool = True) -> Effect:
    """Return what the experiment says, with the e-value of the alert."""
    told = {"log_grad_norm": run.outcome}, run.time_s, run.hot, run.pair
    known = evidence(run)
    found = analyze_switchback(*told, redraws=REDRAWS, seed=seed, sizes=sizes)[0]
    return replace(found, e_value=known.e_value, e_largest=known.largest)


def evidence(run: Drawn) -> EProcess:
    """Return the evidence after all pairs, as the stream layer and a run's analysis have it."""
    block_steps = run.hot.size // (2 * (int(run.pair[-1]) + 1))
    schedule = Schedule("duty", Switchback(block_steps), seed=0, start_step=0)
    process = EProcess()
    for each in pair_contrasts(schedule, range(run.hot.size), run.outcome.tolist()):
        drawn_sign = 1.0 if run.hot[2 * block_steps * each.pair] else -1.0  # by the run's coins
        process.update(None if each.first_less_second is None else drawn_sign * each.first_less_second)
    return process


# -- trainings -------------------------------------------------------------------------------------


def remembering(rng: Rng, n: int, phi: float) -> Floats:
    """Return an AR(1) of sd 1, long under way."""
    before = int(10 / (1.0 - phi))
    noise = rng.standard_normal(before + n)
    return np.asarray(lfilter([np.sqrt(1.0 - phi**2)], [1.0, -phi], noise))[before:]


def decay(n: int) -> Floats:
    """Return the course of a falling loss or norm."""
    return np.asarray(2.0 * np.exp(-np.arange(n) / (0.3 * n)))


def ar(phi: float) -> Callable[[Rng, int, Floats], Floats]:
    """Return AR(1) noise of sd 1 on a falling course."""
    return lambda rng, n, time_s: decay(n) + remembering(rng, n, phi)


def bursts(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return noise that is five times as large in three stretches of a block each."""
    size = np.ones(n)
    for begin in rng.integers(0, n - BLOCK_STEPS, 3):
        size[begin : begin + BLOCK_STEPS] = 5.0
    return decay(n) + size * remembering(rng, n, 0.5)


def spiky(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return t(3) innovations, spikes of up to 50 sd, skipped steps and infinities."""
    noise = lfilter([np.sqrt(0.75 / 3)], [1.0, -0.5], rng.standard_t(3, n + 50))[50:]
    spikes = (rng.random(n) < 0.01) * (5.0 + rng.pareto(1.5, n)).clip(max=50)
    values = decay(n) + noise + spikes
    values[rng.random(n) < 0.03] = np.nan
    values[rng.random(n) < 0.002] = np.inf
    return np.asarray(values)


def driven(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return noise under a hidden driver, AR(.995) a step, of 2 sd."""
    return ar(0.5)(rng, n, time_s) + 2.0 * remembering(rng, n, 0.995)


def driven_by_clock(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return noise under a hidden driver of the wall clock: what a step gets depends on when it comes."""
    driver = 2.0 * remembering(rng, int(time_s[-1]) + 2, 0.99)
    return ar(0.5)(rng, n, time_s) + np.interp(time_s, np.arange(driver.size), driver)


def degrees(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return an outcome in whole numbers."""
    return np.round(driven(rng, n, time_s))


def switching(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return noise whose memory changes from none to AR(.95) at half time."""
    long = remembering(rng, n, 0.95)
    return decay(n) + np.where(np.arange(n) < n // 2, rng.standard_normal(n), long)


def calming(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return noise that falls to an eighth."""
    return decay(n) + 2.0 * np.exp(np.linspace(0.0, -np.log(8.0), n)) * remembering(rng, n, 0.5)


def level(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return white noise on a slowly wandering level."""
    return decay(n) + 0.9 * rng.standard_normal(n) + 0.45 * remembering(rng, n, 0.97)


def restarted(rng: Rng, n: int, time_s: Floats) -> Floats:
    """Return a loss that falls back to an earlier one twice, as after a restart from a checkpoint."""
    place = np.arange(n) - np.where(np.arange(n) > n // 3, 400, 0) - np.where(np.arange(n) > n // 2, 300, 0)
    return 3.0 * np.exp(-place / (0.3 * n)) + remembering(rng, n, 0.5)


def of_zoo(name: str) -> Callable[[Rng, int, Floats], Floats]:
    """Return a process of the zoo, a bin a step."""

    def noise(rng: Rng, n: int, time_s: Floats) -> Floats:
        values = ZOO[name].make(rng, n).x[:n]
        return np.append(values, np.full(n - values.size, np.nan))

    return noise


NULLS = [
    World("falling, AR(.5)", ar(0.5)),
    World("falling, AR(.9)", ar(0.9)),
    World("bursts", bursts),
    World("spikes, skipped, infinite", spiky),
    World("hidden AR(.995) driver, 2 sd", driven),
    World("hidden driver of the clock, duty .6", driven_by_clock, duty=DUTY),
    World("whole numbers, hidden driver", degrees),
    World("memory switches", switching),
    World("restarts", restarted),
    World("AR(.5), duty .6, 11 pairs (all draws)", ar(0.5), duty=DUTY, pairs=11),
    World("AR(.5), 30 s blocks", ar(0.5), pairs=30, block_steps=60),
]
_HEAT = World("AR(.5)", ar(0.5))
POWER = [
    *(replace(_HEAT, size=size) for size in (0.0, 0.2, 0.3, 0.5)),
    *(replace(_HEAT, name="AR(.5), duty .6: 40 min", duty=DUTY, size=size) for size in (0.3, 0.5)),
    *(
        replace(_HEAT, name="AR(.5), duty .6: 30 min, 11 pairs", duty=DUTY, pairs=11, size=size)
        for size in (0.3, 0.5)
    ),
    *(
        replace(_HEAT, name=f"AR(.5), memory {memory_s:g} s", memory_s=memory_s, size=size)
        for memory_s in (5.0, 60.0)
        for size in (0.3, 0.5)
    ),
    *(World(f"AR({phi:g})", ar(phi), size) for phi in (0.0, 0.7, 0.8, 0.9) for size in (0.3, 0.5)),
    *(World("spikes, skipped, infinite", spiky, size) for size in (0.3, 0.5)),
    *(World("bursts", bursts, size) for size in (0.3, 0.5)),
    World("calms down to an eighth", calming, 0.3),
    *(World("memory switches", switching, size) for size in (0.3, 0.5)),
    *(World("wandering level", level, size) for size in (0.3, 0.5)),
    *(World("hidden AR(.995) driver, 2 sd", driven, size) for size in (0.3, 0.5)),
    *(
        replace(_HEAT, name="AR(.5), 30 s blocks", pairs=30, block_steps=60, size=size)
        for size in (0.2, 0.3, 0.5)
    ),
]


# -- what is measured ------------------------------------------------------------------------------


def rate(hits: int, trials: int) -> str:
    """Return a rate with its interval."""
    low, high = binomial_interval(hits, trials)
    return f"{hits / trials:.3f} ({low:.3f} to {high:.3f})"


def seeded(world: World, seed: int, number: int) -> Rng:
    """Return the generator of one run."""
    return np.random.default_rng([zlib.crc32(f"{world.name} {world.size:g}".encode()), seed, number])


def many(world: World, runs: int, seed: int, sizes: bool = True) -> list[tuple[Drawn, Effect]]:
    """Return runs of a world, with what the experiment says of each."""
    made = (drawn(world, seeded(world, seed, number)) for number in range(runs))
    return [(run, analysed(run, number, sizes)) for number, run in enumerate(made)]


def false_effects(worlds: list[World], runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield how often p <= .05, and an e-value was ever 20, where there is no effect."""
    yield "null world", "runs", "p <= .05", "e ever >= 20", "said nothing"
    for world in worlds:
        said = [effect for _, effect in many(world, runs, seed, sizes=False)]
        told = [effect for effect in said if effect.p is not None]
        yield (
            world.name,
            runs,
            rate(sum(effect.p <= 0.05 for effect in told), runs),
            rate(sum(effect.e_largest >= 20 for effect in told), runs),
            runs - len(told),
        )


def nulls(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield the false effects under what makes trainings wander."""
    yield from false_effects(NULLS, runs, seed)


def zoo(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield the false effects of every process of the zoo, its x as the outcome."""
    yield from false_effects([World(name, of_zoo(name)) for name in ZOO], runs, seed)


def power(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield how often an effect is found, how large it is said to be, and whether the interval holds it."""
    yield (
        "world",
        "size",
        "runs",
        "found",
        "e ever >= 20",
        "interval holds",
        "band holds",
        "mean",
        "detectable",
        "no effect",
    )
    for world in POWER:
        said = many(world, runs, seed)
        block_s = world.block_steps * STEP_S / 2 * (1 + 1 / world.duty)
        true = world.size * (1.0 - np.exp(-block_s / world.memory_s))
        effects = [effect for _, effect in said]
        yield (
            world.name,
            world.size,
            runs,
            rate(sum(effect.p <= 0.05 and effect.effect > 0 for effect in effects), runs),
            f"{np.mean([effect.e_largest >= 20 for effect in effects]):.3f}",
            rate(sum(effect.interval[0] <= true <= effect.interval[1] for effect in effects), runs),
            rate(sum(_held(effect, world) for effect in effects), runs),
            f"{np.mean([effect.effect for effect in effects]):.3f} of {true:.3f}",
            f"{np.median([effect.detectable_sd for effect in effects]):.2f} sd",
            f"{np.mean([effect.verdict == 'no_effect' for effect in effects]):.3f}",
        )


def _held(effect: Effect, world: World) -> bool:
    found = effect.response
    true = world.size * (1.0 - np.exp(-found.lags_s / world.memory_s)) / found.unit_per_sd
    return bool(np.all((found.low_sd <= true) & (true <= found.high_sd)))


def observation(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield what observation and experiment say of a run whose training and device share a hidden driver."""
    yield (
        "hidden driver of training and temperature",
        "runs",
        "observed: coupled",
        "experiment: effect",
        "of the coupled",
    )
    world = World("shared driver", lambda rng, n, time_s: np.zeros(n))
    coupled, found, both = 0, 0, 0
    for number in range(runs):
        rng = seeded(world, seed, number)
        run = drawn(world, rng)
        driver = remembering(rng, run.hot.size, 0.995)
        outcome = ar(0.5)(rng, run.hot.size, run.time_s) + 2.0 * driver
        cleaned = remembering(rng, run.hot.size // 2, 0.5)
        temperature = 60.0 + 8.0 * run.heat[1::2] + 3.0 * driver[1::2] + 0.2 * cleaned
        by_second = outcome.reshape(-1, 2).mean(axis=1)
        seen = residual_cross_correlation(by_second, temperature, permutations=199, seed=number)
        said = analysed(replace(run, outcome=outcome), number, sizes=False)
        coupled += seen.p <= 0.05
        found += said.p <= 0.05
        both += seen.p <= 0.05 and said.p <= 0.05
    share = rate(both, coupled) if coupled else "none"
    yield "AR(.995), 2 sd, shared", runs, rate(coupled, runs), rate(found, runs), share


PARTS = {"nulls": nulls, "power": power, "observation": observation, "zoo": zoo}


def main() -> None:
    """Print a Markdown table a part, a row as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"memories {MEMORIES_S} s, {REDRAWS} redraws, seed {asked.seed}")
    for part in asked.only:
        for row, cells in enumerate(PARTS[part](asked.runs, asked.seed)):
            print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)
            if row == 0:
                print("|" + "---|" * len(cells), flush=True)
        print()


if __name__ == "__main__":
    main()
