"""Whether a plan of pulses holds: experiments with the response that first minutes promised power .9 for.

``python benchmarks/experiment_pulse_plan.py [PLANS [EXPERIMENTS]]``: in each world so many plans (60), each
by the first four minutes of a sensor, and of each so many experiments of 20 minutes (10) with the smallest
response that the plan says they show. How often the test finds it, of the response that is seen worse, is
the power.
"""

import sys

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.calibrate import binomial_interval
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.pulse.cleaning import cleaned, slow_course
from thermograd.analysis.experiment.pulse.response import searched, shapes
from thermograd.analysis.experiment.pulse.scores import Kinds, Places, complete_strata
from thermograd.analysis.experiment.pulse_plan import make_pulse_plan

FIRST, STRATA, BINS, LAGS, REDRAWS = 240, 60, 20, 10, 399
PLACES = BINS - LAGS - 1
RESPONSES = {"one bin": np.eye(1, 60)[0], "fading over 10 bins": np.exp(-np.arange(60) / 10.0)}
MEMORIES = (0.0, 0.5, 0.8, 0.95)


def sensor(rng: np.random.Generator, size: int, memory: float) -> Floats:
    """Return an AR(1) of sd 1."""
    values = lfilter([1.0], [1.0, -memory], rng.standard_normal(size + 1000))[1000:]
    return np.asarray(values * np.sqrt(1.0 - memory**2))


def found(rng: np.random.Generator, memory: float, kinds: int, response: Floats) -> bool:
    """Return whether an experiment finds a response."""
    stratum, place = np.repeat(np.arange(STRATA), BINS), rng.integers(PLACES, size=STRATA)
    strata = complete_strata(stratum, place, PLACES, LAGS)
    signs = rng.choice((-1.0, 1.0), STRATA)
    sizes = 0.5 * signs if kinds == 2 else None
    values = sensor(rng, stratum.size, memory) + strata.response(stratum.size, response, sizes)
    draw = Kinds(strata, signs, REDRAWS, rng) if kinds == 2 else Places(strata, REDRAWS, rng)
    clean = cleaned(values, slow_course(values.size))
    assert clean is not None
    test = searched(draw, clean, shapes(LAGS + 1))
    return randomisation_p(test.statistic, test.redrawn) <= 0.05


def main(plans: int, experiments: int) -> None:
    """Print a row a world."""
    print("| sensor | kinds | median size | " + " | ".join(RESPONSES) + " |\n|---|---|---|---|---|")
    for memory in MEMORIES:
        for kinds in (1, 2):
            rng, sizes = np.random.default_rng([int(100 * memory), kinds]), []
            hits = dict.fromkeys(RESPONSES, 0)
            for _ in range(plans):
                first = {"power_w": sensor(rng, FIRST, memory)}
                plan = make_pulse_plan(first, 1.0, bin_steps=1, kinds=kinds, minutes=(20.0,))
                assert plan is not None
                size = plan.rows[0].effect
                assert size is not None
                sizes.append(size)
                for name, response in RESPONSES.items():
                    hits[name] += sum(found(rng, memory, kinds, size * response) for _ in range(experiments))
            runs = plans * experiments
            told = [
                f"{h / runs:.3f} ({' to '.join(f'{e:.3f}' for e in binomial_interval(h, runs))})"
                for h in hits.values()
            ]
            print(f"| AR({memory:g}) | {kinds} | {np.median(sizes):.2f} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:], *("60", "10")[len(sys.argv) - 1 :]]))
