"""Further processes of known truth, for the parts of the calibration that look at one question closely."""

import numpy as np
from thermograd.analysis.calibration import processes
from thermograd.analysis.calibration.processes import Pair, Rng

__all__ = ["caused", "flag", "restless", "slow_driver", "spiky"]


def slow_driver(rng: Rng, m: int, pole: float) -> Pair:
    """Return a load that drives x at once, and y through a memory of its own, other than that of y."""
    load = processes.autoregressive(rng.standard_normal(m), 0.8)
    base = processes.cont(rng, m, 0.0, 3, 0.7)
    delayed = np.append(np.zeros(1), load[:-1])
    heat = processes.autoregressive(3.0 * (1 - pole) * delayed, pole)
    return Pair(base.x + 0.8 * load, base.y + heat, load[:, None])


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
