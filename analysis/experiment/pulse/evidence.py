"""An e-value for pulses, stratum by stratum, from the chance that placed them."""

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.pulse.cleaning import Cleaned
from thermograd.analysis.experiment.pulse.scores import Draw

_STRENGTHS = (0.25, 0.5, 1.0)  # per sd of a stratum's score; both signs
_LARGEST_LOG = 700.0  # above, exp overflows


def evidence(draw: Draw, clean: Cleaned, looked: Floats) -> tuple[float, float]:
    """Return the e-value after the last stratum, and the largest after any.

    A stratum multiplies by exp(l z), over its mean over all draws that might have been, z the score in sd;
    so each factor has mean 1 given the outcome and the strata before, however z is scaled. The product, mixed
    over l and over the responses that are `looked` for, reaches 20 in at most 1 of 20 runs without an effect.

    References
    ----------
    Ville (1939); Shafer (2021), Testing by betting, JRSS A 184:407.
    """
    rows = draw.rows(clean) @ looked.T
    sd = np.sqrt(draw.variance(rows) / draw.strata.size)
    z = draw.by_stratum(rows / np.where(sd > 0, sd, np.inf))  # stratum, option, shape
    strengths = np.array([sign * each for each in _STRENGTHS for sign in (1.0, -1.0)])
    exponents = strengths * z[..., None]
    gained = exponents[np.arange(len(z)), draw.option()] - _log_mean(exponents, axis=1)
    paths = gained.cumsum(axis=0).reshape(len(z), -1)
    logs = np.minimum(_log_mean(paths, axis=1), _LARGEST_LOG)
    return float(np.exp(logs[-1])), float(np.exp(max(0.0, logs.max())))


def _log_mean(values: Floats, axis: int) -> Floats:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - top).mean(axis=axis)) + top.squeeze(axis))
