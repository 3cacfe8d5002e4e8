"""How many pulses an experiment needs, by trying its scores out on noise learnt from a device's minutes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cleaning.residuals import trend_order
from thermograd.analysis.experiment.noise import Noise, learnt_noise, used_of
from thermograd.analysis.experiment.plan import ALPHA, MINUTES, Plan, family_level, table
from thermograd.analysis.experiment.pulse.cleaning import Cleaned, cleaned, slow_course
from thermograd.analysis.experiment.pulse.response import shapes
from thermograd.analysis.experiment.pulse.scores import Strata, complete_strata, placed_shifts, shift_scores
from thermograd.analysis.experiment.result import FEWEST_UNITS
from thermograd.analysis.experiment.searching import Tried

_WORLDS, _STRATA = 32, 40
_DRAWS = 400
_MEMORY_BINS = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class PulsePower(Tried):
    """How surely pulses show a response of one signal.

    Attributes
    ----------
    noise
        Shape (worlds, draws, shapes): scores without a response, in sd.
    limit
        Shape (worlds,): the largest |score| of a share `level` of them lies above.
    shift, spread
        Shape (responses, worlds, shapes): what a response of 1 adds to the mean score of a stratum, in
        sd, and to its variance.
    """

    fewest: ClassVar[int] = FEWEST_UNITS["pulses"]
    sd: float
    power: float
    noise: Floats
    limit: Floats
    shift: Floats
    spread: Floats

    @property
    def scale(self) -> float:
        """The signal's sd."""
        return self.sd

    def shows(self, strata: int, size: float) -> float:
        """Return how often a response of this size is found, of the two the one that is seen worse."""
        found = []
        for shift, spread in zip(self.shift, self.spread, strict=True):
            wider = np.sqrt(1.0 + size**2 * spread)
            moved = self.noise + (math.sqrt(strata) * size * shift / wider)[:, None, :]
            found.append(float(np.mean(np.abs(moved).max(axis=2) > self.limit[:, None])))
        return min(found)


def make_pulse_plan(
    signals: Mapping[str, ArrayLike],
    step_s: float,
    *,
    bin_steps: int,
    stratum_bins: int = 20,
    lag_bins: int = 10,
    kinds: int = 1,
    family: int | None = None,
    effect_sd: float = 0.3,
    power: float = 0.9,
    minutes: Sequence[float] = MINUTES,
    units: Mapping[str, str] = MappingProxyType({}),
    arm: str = "shadow",
    seed: int = 0,
) -> Plan | None:
    """Plan pulses from the first minutes of a run's hardware.

    Parameters
    ----------
    signals
        By name, shape (bins,): a sensor's mean in each bin, NaN where it is missing.
    step_s, bin_steps, stratum_bins, lag_bins
        Duration of a step, s, steps of a bin, and the design of `Pulses`.
    kinds
        Of two, it is the difference that is asked about.
    family
        How many signals share the level of the test; by default these.
    effect_sd, power
        Size that is planned for, the largest value of a response of one bin or of one that fades over ten,
        whichever is seen worse, and how surely it is to be found.
    minutes
        Lengths of which the smallest effect is told.

    Returns
    -------
    Plan or None
        None where no signal has enough values that move.
    """
    level = family_level(family or len(signals))
    found = _powers(signals, (stratum_bins, lag_bins, kinds), (level, power), seed)
    if not found:
        return None
    needed, rows = table(found, stratum_bins * bin_steps * step_s / 60.0, effect_sd, minutes, units)
    learnt = max(used_of(signals[name]) for name in found)
    return Plan(
        arm=arm,
        block_s=None,
        block_steps=None,
        step_s=step_s,
        tau_s=None,
        effect_sd=effect_sd,
        power=power,
        alpha=ALPHA,
        needed_minutes=needed,
        rows=rows,
        sd={name: each.sd for name, each in found.items()},
        learnt_s=learnt * bin_steps * step_s,
        design="pulses",
        bin_s=bin_steps * step_s,
        bin_steps=bin_steps,
        stratum_bins=stratum_bins,
    )


def _powers(
    signals: Mapping[str, ArrayLike], design: tuple[int, int, int], asked: tuple[float, float], seed: int
) -> dict[str, PulsePower]:
    """Return how surely pulses show a response of each signal that moves.

    Series are simulated that may have been the signal's, cleaned and scored as `analyze_pulses` does. A
    stratum's scores add up, so those of many are normal; their largest is what the test looks at.
    """
    found = {}
    for at, (name, given) in enumerate(signals.items()):
        values = np.asarray(given, np.float64)
        rng = np.random.default_rng([seed, at])
        noise = learnt_noise(values, trend_order(used_of(values)), _WORLDS, rng)
        scored = None if noise is None else _scored(noise.worlds, *design, rng)
        if scored is not None:
            found[name] = _power(*scored, *asked, rng)
    return found


def _scored(
    worlds: list[Noise], stratum_bins: int, lag_bins: int, kinds: int, rng: np.random.Generator
) -> tuple[float, Floats, Floats, Floats] | None:
    """Return the sd, the scores' covariance in each world, and what responses add to mean and variance."""
    bins, places = _STRATA * stratum_bins, stratum_bins - lag_bins - 1
    strata = complete_strata(
        np.repeat(np.arange(_STRATA), stratum_bins), rng.integers(places, size=_STRATA), places, lag_bins
    )
    basis, looked = slow_course(bins), shapes(lag_bins + 1)
    told = []
    for world in worlds:
        clean = cleaned(world.simulate(rng, bins), basis)
        if clean is None:
            return None
        # what is fitted takes its share of a response, and of the noise, whose root counts
        kept = 1.0 - (basis.shape[1] + clean.past.size) / bins
        covariance, shift, spread = _of_world(strata, clean, looked, kinds)
        told.append((clean.sd, covariance, kept**1.5 * shift, spread))
    sds, covariances, shifts, spreads = zip(*told, strict=True)
    return float(np.median(sds)), np.array(covariances), np.array(shifts), np.array(spreads)


def _of_world(strata: Strata, clean: Cleaned, looked: Floats, kinds: int) -> tuple[Floats, Floats, Floats]:
    lags = np.arange(strata.lags)
    responses = np.stack([(lags == 0).astype(np.float64), np.exp(-lags / _MEMORY_BINS)])
    rows = shift_scores(strata, clean) @ looked.T  # strata, places, shapes
    placed, weight = placed_shifts(strata, clean), strata.windows(clean.weight)
    there, asked = placed @ responses.T, placed @ looked.T  # places, window, responses or shapes
    # of a response in stratum s at place p to the score at place q: s, p, q, response, shape
    grown = np.einsum("st,ptr,qtj->spqrj", weight, there, asked, optimize=True)
    own = np.arange(strata.places)
    if kinds == 2:  # half the difference at the place that was drawn, the other half taken away
        rows, drawn = rows - rows.mean(axis=(0, 1)), 0.5 * grown[:, own, own]
        spread = (drawn**2).mean(axis=(0, 1))
    else:
        rows = rows - rows.mean(axis=1, keepdims=True)
        grown = grown - grown.mean(axis=2, keepdims=True)
        drawn, spread = grown[:, own, own], (grown**2).mean(axis=(0, 1, 2))
    flat = rows.reshape(-1, rows.shape[2])
    return flat.T @ flat / len(flat), drawn.mean(axis=(0, 1)), spread


def _power(
    sd: float,
    covariance: Floats,
    shift: Floats,
    spread: Floats,
    level: float,
    power: float,
    rng: np.random.Generator,
) -> PulsePower:
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, np.inf)
    alike = covariance / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(alike)
    roots = vectors * np.sqrt(values.clip(min=0))[:, None, :]
    noise = rng.standard_normal((len(alike), _DRAWS, alike.shape[1])) @ roots.transpose(0, 2, 1)
    largest = np.abs(
        rng.standard_normal((len(alike), 10 * _DRAWS, alike.shape[1])) @ roots.transpose(0, 2, 1)
    )
    limit = np.quantile(largest.max(axis=2), 1.0 - level, axis=1)
    by_response = scale[:, None, :]
    return PulsePower(
        sd,
        power,
        noise,
        limit,
        (shift / by_response).transpose(1, 0, 2),
        (spread / by_response**2).transpose(1, 0, 2),
    )
