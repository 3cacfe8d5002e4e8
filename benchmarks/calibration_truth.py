"""Further processes of known truth, for the parts of the calibration that look at one question closely."""

import numpy as np
from thermograd.analysis.calibration import processes
from thermograd.analysis.calibration.processes import Rng

__all__ = ["caused", "early", "epoch", "flag", "jumped", "restless", "spiky"]


def flag(rng: Rng, m: int, begins: float, stays: float) -> np.ndarray:
    """Return a flag that goes up and stays up at random."""
    state, up = False, np.zeros(m)
    for t, chance in enumerate(rng.random(m)):
        state = bool(chance < (stays if state else begins))
        up[t] = state
    return up


def spiky(rng: Rng, m: int) -> np.ndarray:
    """Return a series with rare huge spikes."""
    spikes = (rng.random(m) < 0.02) * (1.0 + rng.pareto(1.5, m)).clip(max=50)
    return processes.autoregressive(rng.standard_normal(m) + 2.0 * spikes, 0.5)


def restless(rng: Rng, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an x that is restless in one stretch, in which onsets crowd; nothing else is common."""
    length = max(10, m // 10)
    first = rng.integers(m // 8, m - m // 8 - length)
    size = np.ones(m)
    size[first : first + length] = 5.0
    x = processes.autoregressive(rng.standard_normal(m) * size, 0.3)
    return x, (rng.random(m) < np.where(size > 1, 0.5, 0.05)).astype(float)


def caused(rng: Rng, m: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes of which a share raises a flag 4 bins later, on top of a flag of its own."""
    struck = rng.random(m) < 0.05
    x = processes.autoregressive(rng.standard_normal(m) + struck * rng.uniform(3, 6, m), 0.5)
    raised = np.append(np.zeros(4), struck[:-4]) * (rng.random(m) < share)
    return x, np.maximum(flag(rng, m, 0.03, 0.6), raised)


def jumped(values: np.ndarray, deviations: float = 1.3) -> np.ndarray:
    """Return the bins in which a series jumps up by so many standard deviations of its differences."""
    steps = np.nan_to_num(np.diff(values, prepend=values[0]))
    size = np.minimum(np.abs(steps), np.quantile(np.abs(steps), 0.98))
    return steps > deviations * max(float(np.sqrt(np.mean(size**2))), 1e-12)


def early(rng: Rng, m: int) -> np.ndarray:
    """Return events of two kinds, both frequent early in the run; shape (2, m)."""
    return rng.random((2, m)) < 0.15 * np.exp(-4.0 * np.arange(m) / m) + 0.005


def epoch(rng: Rng, m: int) -> np.ndarray:
    """Return events of two kinds, which happen at the same places of an epoch of 40 bins; shape (2, m)."""
    return np.isin(np.arange(m) % 40, rng.integers(40, size=4)) & (rng.random((2, m)) < 0.5)
