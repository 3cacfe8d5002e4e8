"""Measure what the statistics promise, on simulated truth, and write benchmarks/CALIBRATION.md.

    python benchmarks/calibration.py                    # everything, three hours on one core
    python benchmarks/calibration.py --jobs 16
    python benchmarks/calibration.py --only nulls power --runs 200 --output elsewhere.md

The file is written again after every row, so a stop loses nothing; parts that are not asked for stay as they
are in it. Every run is seeded by the name of its process, its length, --seed and its number.
"""

import argparse
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import calibration_page
import calibration_pairs
import calibration_truth as truth
import numpy as np
from calibration_page import judged, rate
from calibration_runs import many_devices, whole_runs
from thermograd.analysis.calibration import processes
from thermograd.analysis.calibration.processes import NULLS, Pair, Rng, couplings
from thermograd.analysis.calibration.scenarios import draw
from thermograd.analysis.calibration.zoo import ZOO, Process
from thermograd.analysis.coupling.by_family import couplings_by_family
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.session_swaps import session_swap
from thermograd.analysis.event_study.coincidence import event_coincidence
from thermograd.analysis.event_study.onsets import onset_test, onsets_of
from thermograd.analysis.event_study.triggered_average import event_triggered_average
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.ingest.simulate.write import Signals, simulate_run
from thermograd.store.runs.catalogue import Run

OUTPUT = Path(__file__).with_name("CALIBRATION.md")

# Processes of the zoo, one or two of each kind, on which the other tests are tried.
SWAPPED = (
    "memswitch",
    "cycle24",
    "pulses20",
    "evaluations",
    "gaps30",
    "trendgaps",
    "held5-together",
    "collider",
)
ONSETS = ("memswitch", "hetero", "cycle24", "pulses20", "pulses20-jitter", "gaps", "evaluations")
COINCIDING = ("memswitch", "hetero", "bursts", "cycle24", "pulses20", "evaluations", "gapbursts")
LOCKED = ("trend", "ar.9", "ar.98", "memswitch", "hetero", "cycle24", "pulses20-jitter", "heavy")

Row = tuple[object, ...]
Flagged = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Part:
    """One section: title, columns, what yields its rows for (runs, seed, jobs), its share of the runs."""

    title: str
    header: tuple[str, ...]
    rows: Callable[[int, int, int], Iterator[Row]]
    share: float = 1.0


def seeded(name: str, m: int, seed: int, run: int) -> Rng:
    """Return the generator of one run."""
    return np.random.default_rng([zlib.crc32(name.encode()), m, seed, run])


# -- several runs, open points, events -------------------------------------------------------------


def swap(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Try the session swap on 8 runs of 83 s."""
    kinds: dict[str, Callable[[Rng, int], Pair]] = {
        "trend (null)": processes.trend,
        "ar.98 (null)": NULLS["ar.98"],
        "burst (null)": processes.burst,
        **{f"{name} (null)": ZOO[name].make for name in SWAPPED},
        **{name: couplings(12)[name][0] for name in ("cont .1", "cont .2", "cont .3")},
    }
    for name, make in kinds.items():
        hits = 0
        for run in range(runs):
            rng = seeded(f"swap {name}", 83, seed, run)
            pairs = [make(rng, 83) for _ in range(8)]
            moved = None if pairs[0].moved is None else [p.moved for p in pairs]
            hits += session_swap([p.x for p in pairs], [p.y for p in pairs], moved=moved, seed=run).p <= 0.05
        goal = {"cont .2": ">= 0.85"}.get(name, "<= 0.065" if "null" in name else "")
        good = hits >= 0.85 * runs if name == "cont .2" else hits <= calibration_pairs.MOST_REJECTIONS * runs
        yield name, runs, rate(hits, runs), goal, judged(good) if goal else ""


def onsets(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Try the onset test, without its gate of 40 onsets, where nothing is coupled and where it is."""
    rare, common = (
        (lambda rng, m: truth.flag(rng, m, 0.03, 0.7)),
        (lambda rng, m: truth.flag(rng, m, 0.2, 0.4)),
    )
    kinds: dict[str, tuple[int, Callable[[Rng, int], Flagged]]] = {
        "null: spiky x, rare flag": (400, lambda rng, m: (truth.spiky(rng, m), rare(rng, m))),
        "null: spiky x, common flag": (400, lambda rng, m: (truth.spiky(rng, m), common(rng, m))),
        "null: AR(.9) x": (400, lambda rng, m: (processes.ar(rng, m).x, truth.flag(rng, m, 0.15, 0.5))),
        "null: restless where onsets crowd": (400, truth.restless),
        **{f"null: {name}, jumps of y": (400, jumps_of(ZOO[name])) for name in ONSETS},
        "a tenth of the spikes raises the flag": (1200, lambda rng, m: truth.caused(rng, m, 0.1)),
        "a third of the spikes raises the flag": (1200, lambda rng, m: truth.caused(rng, m, 0.3)),
    }
    for name, (m, make) in kinds.items():
        hits, count = 0, 0
        for run in range(runs):
            x, up = make(seeded(f"onsets {name}", m, seed, run), m)
            found = onset_test(x, onsets_of(up), permutations=299, seed=run, fewest_onsets=3)
            hits, count = hits + (found.p <= 0.05), count + found.n_onsets
        good = judged(hits <= calibration_pairs.MOST_REJECTIONS * runs) if name.startswith("null") else ""
        yield name, m, f"{count / runs:.0f}", runs, rate(hits, runs), good


def jumps_of(process: Process) -> Callable[[Rng, int], Flagged]:
    """Return what draws x of a process, and the bins in which its y jumps up."""

    def drawn(rng: Rng, m: int) -> Flagged:
        pair = process.make(rng, m)
        return pair.x, truth.jumped(pair.y)

    return drawn


def events(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Try the coincidence of uncoupled events, and the interval of the spike-locked average."""
    kinds: dict[str, Callable[[Rng, int], Sequence[np.ndarray]]] = {
        "clustered": lambda rng, m: [truth.flag(rng, m, 0.03, 0.5) for _ in range(2)],
        "both early in the run": truth.early,
        "both at the same places of an epoch": truth.epoch,
        **{name: jumps_of_both(ZOO[name]) for name in COINCIDING},
    }
    for name, make in kinds.items():
        p = np.empty((runs, 2))
        for run in range(runs):
            first, second = map(onsets_of, make(seeded(f"coincidence {name}", 2000, seed, run), 2000))
            found = event_coincidence(first, second, 8)
            p[run] = found.trigger_p, found.precursor_p
        for side, values in zip(("trigger", "precursor"), p.T, strict=True):
            yield (
                f"coincidence, {name}, {side}: p <= .05",
                2000,
                runs,
                rate(int((values <= 0.05).sum()), runs),
            )
    for name in LOCKED:
        outside = 0
        for run in range(runs):
            pair = ZOO[name].make(seeded(f"locked {name}", 1200, seed, run), 1200)
            average = event_triggered_average(pair.y, truth.jumped(pair.x, 2.0))
            outside += average.effect_low > 0 or average.effect_high < 0
        yield f"spike-locked average, {name}: 0 outside its 95 % interval", 1200, runs, rate(outside, runs)


def jumps_of_both(process: Process) -> Callable[[Rng, int], Sequence[np.ndarray]]:
    """Return what draws the bins in which x of a process jumps up, and y."""

    def drawn(rng: Rng, m: int) -> Sequence[np.ndarray]:
        pair = process.make(rng, m)
        return truth.jumped(pair.x, 1.5), truth.jumped(pair.y)

    return drawn


# -- cost ------------------------------------------------------------------------------------------


def cost(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Measure the CPU time of one search, and of a pair in three families of lags."""
    for m, repeats in ((75, 50), (400, 50), (4100, 5), (86400, 1)):
        rng = seeded("cost", m, seed, 0)
        pair, load = processes.cont(rng, m, 0.3, 5), rng.standard_normal((m, 4))
        calls: list[tuple[Callable[[], object], int]] = [
            (lambda pair=pair: residual_cross_correlation(pair.x, pair.y, permutations=0), repeats),
            (lambda pair=pair: residual_cross_correlation(pair.x, pair.y), max(1, repeats // 5)),
            (
                lambda pair=pair, load=load: couplings_by_family(pair.x, pair.y, load, permutations=0),
                repeats,
            ),
        ]
        yield m, *(f"{cpu_ms(call, times):.1f}" for call, times in calls)


def cpu_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of a call in three rounds, after one warm-up."""
    call()
    rounds = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(repeats):
            call()
        rounds.append(1e3 * (time.process_time() - began) / repeats)
    return min(rounds)


def day(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Analyse a day at 1 Hz with two devices, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pairs, wall_s, cpu_s, peak_mib = alone(analyse_day, alone(write_day, folder, seed))
    good = judged(cpu_s <= 30 * pairs / 20 and peak_mib <= 1024)
    yield "24 h at 1 Hz, 2 devices", pairs, f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{peak_mib:.0f}", good


def alone(function: Callable[..., object], *arguments: object) -> object:
    """Return a function's result from a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write_day(folder: str, seed: int) -> Path:
    """Write a run of a day with a throttle flag, 2.4 steps and 1 sample a second."""
    drawn = draw("coll", minutes=1440, seed=seed)
    return simulate_run(Path(folder), Signals(**drawn.shown()), drawn.truth).path


def analyse_day(path: Path) -> tuple[int, float, float, float]:
    """Return pairs, wall time in s, CPU time in s and peak memory in MiB of reading and analysing it."""
    began, cpu = time.perf_counter(), time.process_time()
    data = load_series(Run(path))
    device = next(iter(data.devices.values()))
    data.devices["simulated:gpu-1"] = replace(device, name="simulated:gpu-1")
    pairs = {(pair.x, pair.y, pair.device) for pair in analyze_run(data.run, series=data).pairs}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(pairs), time.perf_counter() - began, time.process_time() - cpu, peak


# -- document --------------------------------------------------------------------------------------

PARTS = {
    "nulls": Part(
        "Nothing is coupled",
        (
            *("null", "m", "R", "naive p <= .05", "ours p <= .05", "<= .065"),
            *("coupled", "<= .05 + error", "no coupling above .2"),
        ),
        calibration_pairs.nulls,
    ),
    "power": Part(
        "Something is coupled",
        ("coupling", "m", "R", "p <= .05", "coupled", "lag within 1 s", "goal", "met"),
        calibration_pairs.power,
        0.5,
    ),
    "runs": Part(
        "Whole runs of 25 minutes",
        ("process", "kind", "R", "coupled", "no coupling above .2", "other", "met"),
        whole_runs,
        0.05,
    ),
    "devices": Part(
        "Whole runs of many devices, nothing coupled",
        ("devices", "length", "tests", "R", "the question coupled", "any pair coupled", "<= .05 + error"),
        many_devices,
        0.2,
    ),
    "absent": Part(
        "Couplings that are said to be absent",
        ("coupling", "kind", "m", "R", 'ends "no coupling above .2"', "<= .05 + error"),
        calibration_pairs.absent,
        0.3,
    ),
    "bounds": Part(
        "Bounds",
        ("process", "m", "rho", "the sensor shows", "R", "half-width", "all lags inside", ">= .93"),
        calibration_pairs.bounds,
        0.3,
    ),
    "reach": Part(
        "What a run could have shown",
        ("process", "m", "stated r", "made by rho", "R", "p <= .05, stated .90", ".85 to .97"),
        calibration_pairs.reach,
        0.3,
    ),
    "swap": Part("Several runs: session swap", ("8 runs of 83 s", "R", "p <= .05", "goal", "met"), swap, 0.2),
    "onsets": Part("The onset test", ("process", "m", "onsets", "R", "p <= .05", "<= .065"), onsets),
    "events": Part("Events", ("nothing is coupled", "m", "R", "rate"), events),
    "cost": Part(
        "Cost of one pair, CPU time",
        ("m", "one search, ms", "with 999 resamplings and guard, ms", "3 families, 4 drivers, ms"),
        cost,
    ),
    "day": Part(
        "Cost of a long run",
        ("run", "pairs", "wall, s", "CPU, s", "peak memory, MiB", "<= 30 s CPU for 20 pairs, 1024 MiB"),
        day,
    ),
}

TAKE_HOURS = ("devices",)  # measured where they are named


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="rows measured at the same time")
    parts = [name for name in PARTS if name not in TAKE_HOURS]
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=parts)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    page = calibration_page.Page(arguments.output, [part.title for part in PARTS.values()])
    said = calibration_page.notes()
    for name in arguments.only:
        part, facts = PARTS[name], calibration_page.facts(arguments.seed)
        rows: list[Row] = []
        for row in part.rows(max(1, round(part.share * arguments.runs)), arguments.seed, arguments.jobs):
            rows.append(row)
            sys.stderr.write(f"{' '.join(map(str, row))}\n")
            sys.stderr.flush()
            page.write(part.title, said.get(name, ""), facts, calibration_page.table(part.header, rows))


if __name__ == "__main__":
    main()
