"""Hardware and training of known truth for experiments: series on a grid of 1 s, and what pulses add to them.

All are simulated. The processes of `analysis.calibration.zoo` stand beside them: no pulse moves those.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import autoregressive, heating, remembering, standardised

_HALF = np.sqrt(0.75)  # sd of the innovations of an AR(.5) of sd 1
_MEMORY = np.sqrt(1.0 - 0.9**2)  # of an AR(.9)


@dataclass(frozen=True, slots=True, eq=False)
class HardwareSeries:
    """A sensor that no pulse moves yet.

    `about`: a sentence; `make`: draws (rng, bins); `is_rounded`: shown in whole units, whatever is added.
    """

    about: str
    make: Callable[[Rng, int], Floats]
    is_rounded: bool = False

    def shown(self, values: Floats) -> Floats:
        """Return what the sensor shows of these values."""
        return np.round(values) if self.is_rounded else values


def _ar(rng: Rng, n: int) -> Floats:
    return np.asarray(_MEMORY * remembering(rng, n, 0.9))


def _warming(rng: Rng, n: int) -> Floats:
    return np.asarray(heating(rng, n) + _HALF * remembering(rng, n, 0.5))


def _driven(rng: Rng, n: int) -> Floats:
    return np.asarray(_drift(rng, n) + _HALF * remembering(rng, n, 0.5))


def _drift(rng: Rng, n: int, sd: float = 2.0) -> Floats:
    """Return a load that nobody logs, AR(.995), of this sd over the run."""
    return np.asarray(sd * standardised(remembering(rng, n, 0.995)))


def _bursts(rng: Rng, n: int) -> Floats:
    restless = 1.0 + 3.0 * (autoregressive(rng.standard_normal(n), 0.9) > 2.5)
    return autoregressive(rng.standard_normal(n) * restless, 0.8)


def _degrees(rng: Rng, n: int) -> Floats:
    return np.asarray(heating(rng, n) + _MEMORY * remembering(rng, n, 0.9))


HARDWARE = {
    "AR(.9)": HardwareSeries("a memory of ten seconds, sd 1", _ar),
    "warming trend": HardwareSeries("a heating device under AR(.5) of sd 1", _warming),
    "hidden driver": HardwareSeries(
        "an unlogged AR(.995) load, sd 2 over the run, under AR(.5) of sd 1", _driven
    ),
    "bursts": HardwareSeries("AR(.8), four times as restless for a tenth of the time", _bursts),
    "whole degrees": HardwareSeries("a heating device, AR(.9) of sd 1, in whole degrees", _degrees, True),
}


def hidden_driver_of_both(rng: Rng, n: int) -> Pair:
    """Return a log gradient norm and a sensor that one unlogged load moves, and neither the other."""
    load = autoregressive(rng.standard_normal(n), 0.8)
    late = np.append(0.0, load[:-1])
    norm, sensor = (remembering(rng, n, 0.7) for _ in range(2))
    return Pair(norm + 0.8 * load, sensor + autoregressive(0.8 * late, 0.7))


def drawn_pulses(rng: Rng, strata: int, stratum_bins: int, places: int) -> tuple[Ints, Ints, Floats]:
    """Return the stratum of every bin, the place of every stratum's pulse, and the pulses, 1 a bin."""
    place = rng.integers(places, size=strata)
    pulses = np.zeros(strata * stratum_bins)
    pulses[np.arange(strata) * stratum_bins + place] = 1.0
    return np.repeat(np.arange(strata), stratum_bins), place, pulses


def answered(pulses: Floats, response: Floats) -> Floats:
    """Return what pulses add where each is answered by this response, shape as `pulses`."""
    return np.convolve(pulses, response)[: pulses.size]
