"""Counts of a fleet with known truth: jobs on GPUs of hosts in racks; bursts, models, racks that differ."""

import numpy as np
from thermograd.analysis.fleet.devices.cells import Cell, Place

GPUS, PER_HOST, PER_RACK = 64, 8, 16
PLACES = [
    Place(f"GPU-{k:02d}", f"host{k // PER_HOST}", (("rack", f"rack{k // PER_RACK}"),)) for k in range(GPUS)
]


def fleet_cells(
    seed,
    runs=800,
    bad=(),
    ratio=3.0,
    spread=0.3,
    burst=1.5,
    rack_sd=0.2,
    sizes=(1, 1, 1, 1, 2, 4, 8),
    rates=(0.3, 1.0, 3.0),
):
    """Return a cell a job: `bad` GPUs have `ratio` times the spikes in every job that they are in.

    `spread` is the variance of the runs' own rates, `burst` the mean number of spikes that come together,
    `rack_sd` by how much racks differ (log), `rates` the models' spikes per 1,000 steps.
    """
    rng = np.random.default_rng(seed)
    racks = np.exp(rack_sd * rng.normal(size=GPUS // PER_RACK))
    cells = []
    for run in range(runs):
        model, size = int(rng.integers(len(rates))), int(rng.choice(sizes))
        host = int(rng.integers(GPUS // PER_HOST))
        gpus = host * PER_HOST + rng.permutation(PER_HOST)[:size]
        steps = 1000 * float(np.exp(rng.normal(0, 0.8)))
        mean = steps / 1000 * rates[model] * racks[gpus[0] // PER_RACK]
        mean *= ratio if set(gpus.tolist()) & set(bad) else 1.0
        mean *= rng.gamma(1 / spread, spread) if spread else 1.0
        bursts = rng.poisson(mean / burst)
        events = int(rng.geometric(1 / burst, size=bursts).sum())
        cells.append(Cell(f"run{run}", (model, size), tuple(PLACES[k] for k in gpus), events, steps))
    return cells


def slow_job(seed, ranks, seconds, slow=None, memory=0.0, ratio=1.1, step_s=0.5, noise=0.03):
    """Return when each step ends, s, and how long each rank worked on it, shape (steps, ranks).

    Ranks are 1 % apart for good and `noise` from step to step, with that memory; from 60 s on rank `slow`
    takes `ratio` times as long. A step ends when the last rank is done.
    """
    rng = np.random.default_rng(seed)
    count = int(seconds / step_s)
    own = rng.normal(size=(count, ranks))
    for row in range(1, count):
        own[row] = memory * own[row - 1] + (1 - memory**2) ** 0.5 * own[row]
    times = step_s * np.exp(noise * own + 0.01 * rng.normal(size=ranks) + 0.05 * rng.normal(size=(count, 1)))
    if slow is not None:
        times[np.cumsum(times.max(axis=1)) > 60, slow] *= ratio
    return np.cumsum(times.max(axis=1)), times
