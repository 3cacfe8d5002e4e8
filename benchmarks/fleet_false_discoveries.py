"""False discoveries of `analyze --all` in fleets where nothing is coupled, and what is found where one is.

Each fleet's runs share what fools a naive correlation: falling norms over warming devices, a drop of the
learning rate beside a step of the fan, evaluations in which both sides get restless, heavy tails. A false
discovery is a fleet in which any run is named, or any pair is said to be coupled on average.

    python benchmarks/fleet_false_discoveries.py --fleets 200 --runs 16 --seconds 500
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import numpy as np
import pyarrow as pa
import scipy.stats
from scipy.signal import lfilter
from series_in_memory import series_of
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.fleet.analyze import reduced
from thermograd.analysis.fleet.pair_statistics import pair_findings
from thermograd.analysis.fleet.pooled import is_supported
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.fleet.task import _run_row, _table
from thermograd.store.runs.catalogue import Run

KINDS = ("trends", "kinks", "restless", "heavy tails")
QUESTION = Question(y=("power_w", "temperature_c"), events=False)


def news(rng, kind, count):
    """Return what is new in a series of one run."""
    if kind == "heavy tails":
        return rng.standard_t(3, count) / np.sqrt(3)
    loud = np.ones(count)
    if kind == "restless":
        loud[np.arange(count) % 150 < 20] = 4.0
    return loud * rng.standard_normal(count)


def series(rng, kind, count, rho):
    """Return a run of one sample and two steps a second."""
    at = np.arange(count) / count
    first = news(rng, kind, count)
    answer = rho * np.roll(first, 3) + np.sqrt(1 - rho**2) * news(rng, kind, count)
    kink = (at > 0.5) * (kind == "kinks")
    norm = 1 - at - 0.8 * kink + 0.2 * lfilter([1], [1, -0.6], first)
    power = 500 + 10 * lfilter([1], [1, -0.5], answer) + 40 * (1 - np.exp(-5 * at)) - 25 * kink
    heat = 45 + lfilter([1], [1, -0.95], news(rng, kind, count)) * 0.5 + 20 * (1 - np.exp(-4 * at)) - 4 * kink
    steps_s = (np.arange(2 * count) + 1) / 2
    second = np.minimum(np.ceil(steps_s).astype(int) - 1, count - 1)
    noise = rng.standard_normal((2, 2 * count))
    steps = {
        "grad_norm": np.exp(norm[second] + 0.05 * noise[0]),
        "loss": 2 + 3 * np.exp(-3 * at[second]) + 0.05 * noise[1],
        "learning_rate": np.where(kink[second] > 0, 1e-4, 3e-4),
    }
    return series_of(
        steps_s, steps, np.arange(count) + 1.0, {"power_w": power, "temperature_c": np.round(heat, 1)}
    )


def fleet(seed, kind, runs, count, coupled, rho):
    """Return what is said of one fleet."""
    tables = []
    for place in range(runs):
        rng = np.random.default_rng([seed, place])
        data = series(rng, kind, count, rho if place < coupled else 0.0)
        object.__setattr__(data, "run", Run(Path(f"fleet-{seed}-{place:03}")))
        begin = {"host": f"n{place}"}
        rows = [_run_row(data) | begin, *(row | begin for row in pair_findings(data, QUESTION, {}))]
        tables.append(_table(data.run.run_id, rows))
    return reduced(pa.concat_tables(tables), [], "model")


def share(found, of):
    """Return a share with its 95 % interval."""
    interval = scipy.stats.binomtest(found, of).proportion_ci(method="exact")
    return f"{found / of:.3f} ({interval.low:.3f} to {interval.high:.3f})"


@one_blas_thread()
def main():
    """Print a row for each kind of null, and one for planted couplings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=200)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    total = total_average = 0
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}", flush=True
    )
    for number, kind in enumerate(KINDS):
        begun, some = time.process_time(), given.fleets // len(KINDS)
        named = average = 0
        for each in range(some):
            found = fleet(1000 * number + each, kind, given.runs, given.seconds, 0, 0.0)
            named += bool(found["coupled"])
            average += any(map(is_supported, found["pooled"], found["p_adjusted"]))
        total, total_average = total + named, total_average + average
        print(f"{kind}: any run named {share(named, some)}, any pair on average {share(average, some)}, "
              f"{time.process_time() - begun:.0f} s of processor time", flush=True)  # fmt: skip
    of = given.fleets // len(KINDS) * len(KINDS)
    print(
        f"all: any run named {share(total, of)}, any pair on average {share(total_average, of)}",
        flush=True,
    )
    for rho in (0.2, 0.3, 0.5):
        hits = false = 0
        for each in range(10):
            found = fleet(9000 + each, "trends", given.runs, given.seconds, given.runs // 4, rho)
            planted = {f"fleet-{9000 + each}-{place:03}" for place in range(given.runs // 4)}
            hits += len(planted & set(found["coupled"]))
            false += len(set(found["coupled"]) - planted)
        of = 10 * (given.runs // 4)
        print(
            f"rho {rho} in a quarter of the runs: found {share(hits, of)}, others named {false}", flush=True
        )


if __name__ == "__main__":
    main()
