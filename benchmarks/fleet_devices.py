"""Which device is bad: how often a planted one is named, how often an innocent one is, beside simpler rules.

Fleets of 64 GPUs on 8 hosts in 4 racks, of counts as they come from jobs (`device_fleets`): models and racks
that differ, bursts, runs with rates of their own, exposures over two orders of magnitude. The simpler rules
look at the same jobs: events over steps of all jobs that a GPU was in, and name whoever is above the median
by one median absolute deviation, or above the mean by three standard deviations.

    python benchmarks/fleet_devices.py [fleets, default 200]
"""

import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
from scipy.stats import binomtest
from thermograd.analysis.fleet.devices.cells import Cell, Cells
from thermograd.analysis.fleet.devices.excess import judge
from thermograd.benchmarks.device_fleets import fleet_cells, slow_job
from thermograd.stream.slow_rank import SlowRanks

BAD = 11
PLANTED = {
    "one GPU, 3 x, 2,000 runs": {"runs": 2000, "bad": [BAD]},
    "one GPU, 3 x, 3,000 runs": {"runs": 3000, "bad": [BAD]},
    "one GPU, 3 x, 800 runs of one GPU, no bursts": {
        "runs": 800, "bad": [BAD], "spread": 0.0, "burst": 1.0, "sizes": (1,), "rates": (1.0, 2.0, 4.0)
    },
    "one host of 8, 2 x, 2,000 runs": {"runs": 2000, "bad": range(8, 16), "ratio": 2.0},
    "one rack of 16, 2.5 x, 2,000 runs": {"runs": 2000, "bad": range(16), "ratio": 2.5},
}  # fmt: skip
TRUTH = {"one GPU": f"GPU-{BAD}", "one host": "host1", "one rack": "rack0"}
INNOCENT = {
    "as above, 2,000 runs": {"runs": 2000},
    "800 runs": {"runs": 800},
    "bursts of 4, runs' rates +-100 %": {"runs": 800, "spread": 1.0, "burst": 4.0},
    "300 runs, racks +-50 %": {"runs": 300, "rack_sd": 0.5},
    "one GPU a job, no bursts": {"runs": 800, "spread": 0.0, "burst": 1.0, "sizes": (1,)},
    "one model with nearly all spikes": {"runs": 800, "rates": (0.02, 0.3, 10.0)},
}
Rule = Callable[[list[Cell]], set[str]]


def ours(cells: list[Cell]) -> set[str]:
    """Return what `judge` names."""
    return {standing.unit.name for standing in judge({"spike": Cells(cells)}).named}


def _rates(cells: Iterable[Cell]) -> dict[str, float]:
    events: dict[str, float] = {}
    steps: dict[str, float] = {}
    for cell in cells:
        for place in cell.places:
            name = str(place.device)
            events[name] = events.get(name, 0.0) + cell.events
            steps[name] = steps.get(name, 0.0) + cell.exposure
    return {name: events[name] / steps[name] for name in events}


def one_mad(cells: list[Cell]) -> set[str]:
    """Return the GPUs whose rate is above the median of all by one median absolute deviation."""
    rates = _rates(cells)
    values = np.array(list(rates.values()))
    limit = np.median(values) + np.median(np.abs(values - np.median(values)))
    return {name for name, rate in rates.items() if rate > limit}


def z_score(cells: list[Cell]) -> set[str]:
    """Return the GPUs whose rate is above the mean of all by three standard deviations."""
    rates = _rates(cells)
    values = np.array(list(rates.values()))
    return {name for name, rate in rates.items() if rate > values.mean() + 3 * values.std()}


RULES: dict[str, Rule] = {"ours": ours, "1 MAD": one_mad, "z > 3": z_score}


def share(hits: int, of: int) -> str:
    """Return a rate with its exact 95 % interval."""
    interval = binomtest(hits, of).proportion_ci()
    return f"{hits / of:.3f} ({interval.low:.3f}-{interval.high:.3f})"


def planted(fleets: int) -> None:
    """Print how often what is bad is named, and how often something else."""
    for name, given in PLANTED.items():
        truth = next(unit for what, unit in TRUTH.items() if name.startswith(what))
        drawn = [fleet_cells(seed, **given) for seed in range(fleets)]
        for rule in RULES if truth.startswith("GPU") else ["ours"]:
            named = [RULES[rule](cells) for cells in drawn]
            found, wrong = (
                sum(truth in names for names in named),
                sum(len(names - {truth}) for names in named),
            )
            others = sum(bool({n for n in names if not n.startswith("rack")} - {truth}) for names in named)
            precision = found / max(1, found + wrong)
            print(
                f"- {name}; {rule}: found {share(found, fleets)}, precision {precision:.3f}, "
                f"another GPU or host accused in {share(others, fleets)}",
                flush=True,
            )


def innocent(fleets: int) -> None:
    """Print how often fleets without a bad unit have one named."""
    for name, given in INNOCENT.items():
        drawn = [fleet_cells(1000 + seed, **given) for seed in range(fleets)]
        for rule, of in RULES.items():
            named = [of(cells) for cells in drawn]
            finer = sum(any(not unit.startswith("rack") for unit in names) for names in named)
            print(
                f"- {name}; {rule}: a GPU or host accused in {share(finer, fleets)} of fleets, anything in "
                f"{share(sum(map(bool, named)), fleets)}",
                flush=True,
            )


def slow_ranks(jobs: int) -> None:
    """Print how soon a rank that becomes a tenth slower is told, and how many alike jobs tell one."""
    for ranks, memory in ((64, 0.0), (8, 0.0), (4, 0.0), (64, 0.9)):
        delays, others, false = [], 0, 0
        for seed in range(jobs):
            told = _told(*slow_job(seed, ranks, 150.0, slow=seed % ranks, memory=memory))
            delays += [slow.time_ns / 1e9 - 60 for slow in told if slow.rank == seed % ranks][:1]
            others += any(slow.rank != seed % ranks for slow in told)
        for seed in range(max(1, jobs // 10)):
            false += len(_told(*slow_job(10_000 + seed, ranks, 1800.0, memory=memory)))
        quantiles = np.quantile(delays, [0.5, 0.95, 1.0]) if delays else [np.nan] * 3
        in_time = sum(delay <= 60 for delay in delays)
        print(
            f"- {ranks} ranks, memory {memory:g}: told within 60 s {share(in_time, jobs)}; delay median "
            f"{quantiles[0]:.0f} s, 95 % {quantiles[1]:.0f} s, longest {quantiles[2]:.0f} s; another rank in "
            f"{others} of {jobs}; {false} false in {max(1, jobs // 10) / 2:g} h without a slow one",
            flush=True,
        )


def _told(ends_s: np.ndarray, times_s: np.ndarray) -> list:
    ranks = SlowRanks()
    rows = zip((ends_s * 1e9).astype(int).tolist(), times_s.tolist(), strict=True)
    return [
        s
        for end_ns, row in rows
        for rank, time_s in enumerate(row)
        for s in ranks.update(rank, end_ns, time_s)
    ]


def main() -> None:
    """Print all of it."""
    fleets = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    parts = sys.argv[2:] or ["planted", "innocent", "slow"]
    began = time.process_time()
    for name, measure in (("planted", planted), ("innocent", innocent), ("slow", slow_ranks)):
        if name in parts:
            measure(fleets if name != "slow" else max(1, fleets // 2))
    print(f"- {fleets} fleets each, {time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
