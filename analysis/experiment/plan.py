"""How long an experiment has to be, by trying it out: the very test, on noise learnt from first minutes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.heat.blocks import blocks_of
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.heat.inversion import combined
from thermograd.analysis.experiment.heat.whitening import whitened
from thermograd.analysis.experiment.noise import Noise, learnt_noise, used_of
from thermograd.analysis.experiment.result import FEWEST_UNITS
from thermograd.analysis.experiment.searching import Tried
from thermograd.analysis.experiment.switchback import MEMORIES_S
from thermograd.store.text import without_nan

MINUTES = (10.0, 20.0, 30.0, 60.0, 120.0)
SHORTEST_BLOCK_S = 60.0
_ROUND_S = 5.0
_MEMORY_S = 20.0  # of the heat, where the device's is not known
ALPHA = 0.05
_MOST_BINS = 240  # of a block: faster steps are taken together
_PAIRS = 16  # of a simulated experiment, from which shorter and longer ones are drawn
_WORLDS, _DRAWS = 64, 8
_ALIKE = 8  # worlds of one draw of the coins
_REDRAWS, _MOST_REDRAWN = 400, 40  # pairs from which on the redraws are normal
_MOST_MINUTES = 48 * 60.0
_COSINE_BLOCKS = 6  # blocks, as the test's own trend


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The smallest effect on an outcome that so many minutes show with the power asked for; None: none.

    `pairs`: of blocks, or the pulses.
    """

    minutes: float
    pairs: int
    outcome: str
    effect_sd: float | None
    effect: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an experiment can show, and how long it takes.

    Attributes
    ----------
    block_s, block_steps, step_s, tau_s
        Length of a hot block, mean duration of a step and the device's thermal time constant, s; None: not
        known, or of pulses.
    effect_sd, power, alpha
        Asked for; an effect is what a hot block makes at its end, in sd of the outcome without its trend.
    needed_minutes
        By outcome: until an effect of `effect_sd` is shown; None: not within two days.
    rows
        The table.
    sd
        By outcome, in its unit.
    learnt_s
        How much of the run it rests on, s.
    notes
        Sentences.
    bin_s, bin_steps, stratum_bins
        Of pulses.
    """

    arm: str
    block_s: float | None
    block_steps: int | None
    step_s: float
    tau_s: float | None
    effect_sd: float
    power: float
    alpha: float
    needed_minutes: dict[str, float | None]
    rows: list[PlanRow]
    sd: dict[str, float]
    learnt_s: float
    design: str = "switchback"
    notes: list[str] = field(default_factory=list)
    bin_s: float | None = None
    bin_steps: int | None = None
    stratum_bins: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return without_nan(asdict(self))  # type: ignore[no-any-return]

    def lines(self) -> list[str]:
        """Return it as a table for people."""
        head = [
            f"{self._units()}; learnt from {self.learnt_s / 60.0:.1f} minutes",
            f"smallest effect that is shown with power {self.power:g}, in sd (and in the outcome's unit):",
        ]
        outcomes = list(self.sd)
        table = [["minutes", "pairs" if self.design == "switchback" else "pulses", *outcomes]]
        for minutes in dict.fromkeys(row.minutes for row in self.rows):
            rows = [row for row in self.rows if row.minutes == minutes]
            table.append([f"{minutes:g}", f"{rows[0].pairs}", *map(_cell, rows)])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table
        ]
        return [*head, *lines, *map(self._needed, outcomes), *self.notes]

    def _units(self) -> str:
        if self.design == "pulses":
            return f"a pulse in every {self.stratum_bins} bins of {self.bin_s:.2g} s ({self.bin_steps} steps)"
        tau = "not known" if self.tau_s is None else f"{self.tau_s:.0f} s"
        return f"blocks of {self.block_s:.0f} s ({self.block_steps} steps); thermal time constant {tau}"

    def _needed(self, outcome: str) -> str:
        minutes = self.needed_minutes[outcome]
        if minutes is None:
            return f"{outcome}: {self.effect_sd:g} sd is not shown within two days"
        return f"{outcome}: {self.effect_sd:g} sd needs {minutes:.0f} minutes"


def _cell(row: PlanRow) -> str:
    if row.effect_sd is None or row.effect is None:
        return "nothing"
    return f"{row.effect_sd:.2f} ({row.effect:.2g}{' ' if row.unit else ''}{row.unit})"


def family_level(outcomes: int) -> float:
    """Return the level of each of so many outcomes that share that of the test."""
    return float(1.0 - (1.0 - ALPHA) ** (1.0 / max(outcomes, 1)))


def table(
    tried: Mapping[str, Tried],
    unit_minutes: float,
    effect_sd: float,
    minutes: Sequence[float],
    units: Mapping[str, str],
) -> tuple[dict[str, float | None], list[PlanRow]]:
    """Return how many minutes each outcome needs, and the rows of a plan.

    `unit_minutes`: how long a pair of blocks or a stratum takes; `units`: those of the outcomes.
    """
    most = int(_MOST_MINUTES / unit_minutes)
    counts = {name: each.needed(effect_sd * each.sd, most) for name, each in tried.items()}
    needed = {name: None if count is None else count * unit_minutes for name, count in counts.items()}
    rows = []
    for length in minutes:
        count = int(length / unit_minutes + 1e-9)
        for name, each in tried.items():
            size = each.smallest(count)
            size_sd = None if size is None else size / each.sd
            rows.append(PlanRow(float(length), count, name, size_sd, size, units.get(name, "")))
    return needed, rows


def block_length_s(tau_s: float | None) -> float:
    """Return how long blocks should be: a minute, and at least the thermal time constant."""
    return max(SHORTEST_BLOCK_S, _ROUND_S * math.ceil((tau_s or 0.0) / _ROUND_S))


def in_bins(given: ArrayLike, block_steps: int) -> tuple[Floats, float]:
    """Return an outcome's known values, many of a block taken together, and how many steps each is for.

    More values than some hundred say no more of a block. An outcome may be known in every tenth step only.
    """
    values = np.asarray(given, np.float64)
    known = values[np.isfinite(values)]
    together = taken_together(values, block_steps)
    whole = known.size // together * together
    return np.asarray(known[:whole].reshape(-1, together).mean(axis=1)), together * _every(values)


def taken_together(values: Floats, block_steps: int) -> int:
    """Return how many known values of an outcome, shape (steps,), are taken as one."""
    return max(1, round(math.ceil(block_steps / _MOST_BINS) / _every(values)))


def _every(values: Floats) -> float:
    """Return in one of how many steps an outcome is known."""
    return max(values.size, 1) / max(int(np.isfinite(values).sum()), 1)


def make_plan(
    outcomes: Mapping[str, ArrayLike],
    step_s: float,
    *,
    hot_step_s: float | None = None,
    tau_s: float | None = None,
    block_s: float | None = None,
    effect_sd: float = 0.3,
    power: float = 0.9,
    minutes: Sequence[float] = MINUTES,
    units: Mapping[str, str] = MappingProxyType({}),
    arm: str = "duty",
    seed: int = 0,
) -> Plan | None:
    """Plan a switchback from the first minutes of a run.

    Experiments are simulated in worlds that may have made those minutes (`learnt_noise`), and analysed by the
    test of `analyze_switchback`; several outcomes share its level, as they do there.

    Parameters
    ----------
    outcomes
        By name, shape (steps,): what heat may change, NaN where not known.
    step_s
        Duration of a step in the experiment, mean of hot and cool, s.
    hot_step_s
        Of a hot step, by which the steps of a block are counted; by default the same.
    tau_s
        Thermal time constant, s: an effect builds up as slowly as the heat.
    block_s
        Of a block; by default `block_length_s`.
    effect_sd, power
        Size that is planned for, and how surely it is to be found.
    minutes
        Lengths of which the smallest effect is told.

    Returns
    -------
    Plan or None
        None where no outcome has enough values that move.
    """
    block_s = block_length_s(tau_s) if block_s is None else block_s
    block_steps = max(1, round(block_s / (hot_step_s or step_s)))
    level = family_level(len(outcomes))
    found: dict[str, _Blocks] = {}
    learnt_s = 0.0
    for at, (name, given) in enumerate(outcomes.items()):
        values, apart = in_bins(given, block_steps)
        bins, bin_s = round(block_steps / apart), step_s * apart
        if not bins:  # too rare to be in every block
            continue
        known = used_of(values)
        rng = np.random.default_rng([seed, at])
        noise = learnt_noise(values, round(known / (_COSINE_BLOCKS * bins)), _WORLDS, rng)
        scores = None if noise is None else _tried(noise.worlds, bins, bin_s, tau_s or _MEMORY_S, rng)
        if noise is not None and scores is not None:
            found[name] = _Blocks(noise.sd, power, *scores, level, seed)
            learnt_s = max(learnt_s, known * bin_s)
    if not found:
        return None
    needed, rows = table(found, 2.0 * block_steps * step_s / 60.0, effect_sd, minutes, units)
    return Plan(
        arm=arm,
        block_s=block_s,
        block_steps=block_steps,
        step_s=step_s,
        tau_s=tau_s,
        effect_sd=effect_sd,
        power=power,
        alpha=ALPHA,
        needed_minutes=needed,
        rows=rows,
        sd={name: each.sd for name, each in found.items()},
        learnt_s=learnt_s,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks(Tried):
    """Switchbacks that were simulated: each world's pairs, from which those of any length are drawn.

    `scores`, `answers`: shape (worlds, memories, pairs), what the pairs say, and what an effect of 1 adds.
    """

    fewest: ClassVar[int] = FEWEST_UNITS["switchback"]
    sd: float
    power: float
    scores: Floats
    answers: Floats
    level: float
    seed: int

    @property
    def scale(self) -> float:
        """Of a typical pair the effect that would say as much as it does."""
        said, answer = (float(np.median(np.abs(each))) for each in (self.scores, self.answers))
        return said / max(answer, 1e-300)

    def shows(self, pairs: int, size: float) -> float:
        """Return how often an effect of this size is found."""
        count, _, pool = self.scores.shape
        rng = np.random.default_rng([self.seed, pairs])
        hits = []
        redraws = redrawn_coins(pairs, _REDRAWS, self.seed) if pairs <= _MOST_REDRAWN else None
        for _ in range(_DRAWS):
            drawn = rng.integers(pool, size=(count, 1, pairs))
            coins = rng.choice((-1.0, 1.0), (count, 1, pairs))  # of what no effect makes the sign is a coin's
            noise = coins * np.take_along_axis(self.scores, drawn, axis=2)
            scores = combined(noise + size * np.take_along_axis(self.answers, drawn, axis=2))
            hits.append(_found(scores, redraws, self.level))
        return float(np.mean(hits))


def _found(scores: Floats, coins: Floats | None, level: float) -> Floats:
    """Return which experiments, shape (n, pairs), have p below the level."""
    observed = np.abs(scores.sum(axis=1))
    if coins is None:
        return np.asarray(observed > ndtri(1.0 - level / 2.0))
    redrawn = np.abs(scores @ coins.T)
    return np.asarray(np.mean(redrawn >= observed[:, None] * (1.0 - 1e-9), axis=1) <= level)


def _tried(
    true: Sequence[Noise], bins: int, bin_s: float, memory_s: float, rng: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """Return the pairs' scores of one experiment in each world, and what an effect of 1 adds to them."""
    steps = 2 * bins * _PAIRS
    times: Floats = np.arange(steps, dtype=np.float64) * bin_s
    pair = np.repeat(np.arange(_PAIRS), 2 * bins)
    scores, answers = [], []
    for at, world in enumerate(true):
        if not at % _ALIKE:
            first = rng.integers(0, 2, _PAIRS)
            hot = np.repeat(np.column_stack([first, 1 - first]).ravel(), bins).astype(np.float64)
            blocks = blocks_of(times, hot, pair)
        clean = whitened(world.simulate(rng, steps), _PAIRS)
        if clean is None:
            return None
        weights = clean.weights(clean.innovations)
        expected = clean.kept * clean.of(blocks.through(memory_s)) / blocks.at_block_end(memory_s)
        answer = clean.weights(expected)
        scores.append([blocks.by_pair_through(each_s, weights) for each_s in MEMORIES_S])
        answers.append([blocks.by_pair_through(each_s, answer) for each_s in MEMORIES_S])
    return np.array(scores), np.array(answers)
