"""Within one job: false accusations and power of the comparison of ranks and devices, on simulated jobs.

    python benchmarks/fleet_one_job.py --jobs 400

Times of ranks have memory from step to step and differ a little by nature; throttling lasts over parts of the
run. A bad rank is 10 % slower; a bad device begins to throttle in a fifth of the parts.
"""

import argparse
import platform

import numpy as np
import scipy
from thermograd.analysis.fleet.devices.one_job import BLOCKS, PARTS, judged_blocks
from thermograd.analysis.fleet.devices.peers import slow_ranks

STEPS, HALF = 600, 0.025  # of the probability of a false accusation


def times(rng, ranks, memory, noise, nature, slow=None):
    """Return each rank's time over the ranks' median by block."""
    own = rng.standard_normal((ranks, STEPS))
    for step in range(1, STEPS):
        own[:, step] = memory * own[:, step - 1] + np.sqrt(1 - memory**2) * own[:, step]
    shared = 0.1 * rng.standard_normal((1, STEPS))
    took = np.exp(noise * own + nature * rng.standard_normal((ranks, 1)) + shared)
    if slow is not None:
        took[slow] *= 1.1
    beside = took / np.median(took, axis=0)
    return {k: np.array([np.median(b) for b in np.array_split(beside[k], BLOCKS)]) for k in range(ranks)}


def happened(rng, devices, begins, lasts, bad=None):
    """Return by device the parts in which it throttled."""
    state, parts = np.zeros(devices, bool), np.zeros((devices, PARTS), bool)
    for part in range(PARTS):
        state = rng.random(devices) < np.where(state, lasts, begins)
        parts[:, part] = state
    if bad is not None:
        parts[bad] = rng.random(PARTS) < 0.2
    return {"throttled": {f"GPU-{k}": set(np.flatnonzero(of).tolist()) for k, of in enumerate(parts)}}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=400)
    jobs = parser.parse_args().jobs
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    for ranks in (3, 4, 8, 64):
        for noise in ((0.0, 0.05, 0.0), (0.99, 0.02, 0.005), (0.999, 0.05, 0.01)):
            rng = np.random.default_rng(1)
            false = [slow_ranks(times(rng, ranks, *noise), HALF).named for _ in range(jobs)]
            found = [slow_ranks(times(rng, ranks, *noise, slow=1), HALF).named for _ in range(jobs // 2)]
            hits = np.mean([[slow.rank for slow in named] == [1] for named in found])
            rate = np.mean([*map(bool, false)])
            print(f"{ranks} ranks, memory, noise, nature {noise}: {rate:.3f}, {hits:.2f}")
    for devices in (4, 8, 32):
        for rate in ((0.02, 0.02), (0.01, 0.95), (0.002, 0.99)):
            rng = np.random.default_rng(2)
            told = [[*judged_blocks(happened(rng, devices, *rate))] for _ in range(jobs // 2)]
            found = [[*judged_blocks(happened(rng, devices, *rate, bad=1))] for _ in range(jobs // 4)]
            hits = np.mean([[each.unit for each in named] == ["GPU-1"] for named in found])
            print(f"{devices} devices, begins, lasts {rate}: {np.mean([*map(bool, told)]):.3f}, {hits:.2f}")


if __name__ == "__main__":
    main()
