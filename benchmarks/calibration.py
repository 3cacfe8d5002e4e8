"""Measure what the statistics promise, on simulated truth, and write benchmarks/CALIBRATION.md.

    python benchmarks/calibration.py                    # everything, a quarter of an hour on one core
    python benchmarks/calibration.py --only nulls power --runs 200 --output -

Every run is seeded by the name of its process, its length, --seed and its number. A rate has its exact
binomial 95 % interval behind it. Parts: nulls, power, swap, verdict, reach, driver, onsets, events, cost.
"""

import argparse
import os
import platform
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from thermograd.analysis import processes
from thermograd.analysis.calibrate import Measured, binomial_interval, couplings, measure
from thermograd.analysis.coincidence import event_coincidence
from thermograd.analysis.coupling import couplings_by_family, residual_cross_correlation, session_swap
from thermograd.analysis.locked import locked_average
from thermograd.analysis.onsets import onset_test, onsets_of
from thermograd.analysis.processes import NULLS, Pair, Rng
from thermograd.analysis.verdict import smallest_detectable

OUTPUT = Path(__file__).with_name("CALIBRATION.md")
MOST_REJECTIONS = 0.065
# m ~ 400, where not said otherwise: least rate of p <= .05
LEAST_POWER = {"cont .2": 0.70, "cont .3": 0.95, "cont_trend .3": 0.85, "spike 2": 0.90}


def rate(hits: int, runs: int) -> str:
    """Return a rate with its interval."""
    low, high = binomial_interval(hits, runs)
    return f"{hits / runs:.3f} ({low:.3f}-{high:.3f})"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table, numbers to the right."""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join(['---', *['--:'] * (len(header) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def seeded(name: str, m: int, seed: int, run: int) -> Rng:
    """Return the generator of one run."""
    return np.random.default_rng([zlib.crc32(name.encode()), m, seed, run])


def judged(good: bool) -> str:
    """Return whether a goal is met, for a cell."""
    return "yes" if good else "**no**"


# -- parts -----------------------------------------------------------------------------------------


def nulls(runs: int, seed: int) -> str:
    """Count false positives of the naive method and of ours at two lengths."""
    rows = []
    for m in (75, 400):
        for name, make in NULLS.items():
            found = measure(name, make, m, runs, seed=seed)
            good = judged(found.found <= MOST_REJECTIONS * runs)
            naive = f"{found.naive / runs:.3f}"
            strong, coupled = f"{found.naive_strong / runs:.3f}", f"{found.coupled / runs:.3f}"
            rows.append((name, m, runs, naive, strong, rate(found.found, runs), coupled, good))
            tell(rows[-1])
    header = ["null", "m", "R", "naive p <= .05", "naive |r| > .7", "ours p <= .05", "coupled", "<= .065"]
    return table(header, rows)


def power(runs: int, seed: int) -> str:
    """Count how often a true coupling is found, and its lag."""
    rows = []
    for m in (75, 400):
        for name, (make, lag) in couplings(12).items():
            found = measure(name, make, m, runs, true_lag=lag, seed=seed)
            rows.append(power_row(name, m, runs, found))
            tell(rows[-1])
    header = ["coupling", "m", "R", "p <= .05", "coupled", "lag within 1 s", "goal", "met"]
    return table(header, rows)


def power_row(name: str, m: int, runs: int, found: Measured) -> tuple[object, ...]:
    """Return one row of the power table."""
    goal = LEAST_POWER.get(name) if m == 400 else None
    met = "" if goal is None else judged(found.found >= goal * runs)
    if name == "cont .2" and m == 400:
        met += f"; lag >= .90: {judged(found.lag_found >= 0.9 * runs)}"
    rates = rate(found.found, runs), f"{found.coupled / runs:.3f}", rate(found.lag_found, runs)
    return name, m, runs, *rates, "" if goal is None else f">= {goal:g}", met


def swap(runs: int, seed: int) -> str:
    """Try the session swap on 8 runs of 83 s."""
    kinds: dict[str, Callable[[Rng, int], Pair]] = {
        "trend (null)": processes.trend,
        "ar.98 (null)": NULLS["ar.98"],
        "burst (null)": processes.burst,
        "cont .1": couplings(12)["cont .1"][0],
        "cont .2": couplings(12)["cont .2"][0],
        "cont .3": couplings(12)["cont .3"][0],
    }
    rows = []
    for name, make in kinds.items():
        hits = 0
        for run in range(runs):
            rng = seeded(f"swap {name}", 83, seed, run)
            pairs = [make(rng, 83) for _ in range(8)]
            hits += session_swap([p.x for p in pairs], [p.y for p in pairs], seed=run).p <= 0.05
        goal = {"cont .2": ">= 0.85"}.get(name, "<= 0.065" if "null" in name else "")
        bound = hits >= 0.85 * runs if name == "cont .2" else hits <= MOST_REJECTIONS * runs
        rows.append((name, runs, rate(hits, runs), goal, judged(bound) if goal else ""))
        tell(rows[-1])
    return table(["8 runs of 83 s", "R", "p <= .05", "goal", "met"], rows)


def verdict(runs: int, seed: int) -> str:
    """Count how often long uncoupled runs end as "no coupling", and coupled ones."""
    rows = []
    for name, make in NULLS.items():
        found = measure(name, make, 1000, runs, seed=seed, permutations=199)
        rows.append(
            (name, 1000, runs, rate(found.excluded, runs), ">= 0.90", judged(found.excluded >= 0.9 * runs))
        )
        tell(rows[-1])
    for m in (400, 1000):
        found = measure("cont .3", couplings(12)["cont .3"][0], m, runs, seed=seed, permutations=199)
        rows.append(("cont .3", m, runs, rate(found.excluded, runs), "0", judged(found.excluded == 0)))
        tell(rows[-1])
    return table(["process", "m", "R", 'ends "no coupling above .2"', "goal", "met"], rows)


def reach(runs: int, seed: int) -> str:
    """Count how often the smallest detectable correlation is detected: in 90 % of runs, it is said."""
    rows = []
    for m in (75, 150, 400, 1000):
        rho = smallest_detectable(m)
        found = measure(
            f"reach {m}", lambda rng, n, rho=rho: processes.cont(rng, n, rho, 5), m, runs, seed=seed
        )
        rows.append((m, f"{rho:.3f}", runs, rate(found.found, runs), f"{found.coupled / runs:.3f}"))
        tell(rows[-1])
    return table(["m", "smallest detectable r", "R", "p <= .05, stated .90", "coupled"], rows)


def slow_driver(rng: Rng, m: int, pole: float) -> Pair:
    """Return a load that drives x at once, and y through a memory of its own, other than that of y."""
    load = processes.autoregressive(rng.standard_normal(m), 0.8)
    base = processes.cont(rng, m, 0.0, 3, 0.7)
    delayed = np.append(np.zeros(1), load[:-1])
    heat = processes.autoregressive(3.0 * (1 - pole) * delayed, pole)
    return Pair(base.x + 0.8 * load, base.y + heat, load[:, None])


def driver(runs: int, seed: int) -> str:
    """Count false positives of a common driver, also one that acts more slowly than the 3 s taken out."""
    kinds: dict[str, Callable[[Rng, int], Pair]] = {
        "driver (as in the table above)": processes.driver,
        "driver through a memory of 10 s": lambda rng, m: slow_driver(rng, m, 0.9),
        "driver through a memory of 33 s": lambda rng, m: slow_driver(rng, m, 0.97),
    }
    rows = []
    for name, make in kinds.items():
        for m in (400, 4100):
            found = measure(name, make, m, runs, seed=seed, permutations=499)
            rows.append(
                (name, m, runs, rate(found.found, runs), judged(found.found <= MOST_REJECTIONS * runs))
            )
            tell(rows[-1])
    return table(["null", "m", "R", "p <= .05", "<= .065"], rows)


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


def onsets(runs: int, seed: int) -> str:
    """Try the onset test, without its gate of 40 onsets, where nothing is coupled and where it is."""
    kinds: dict[str, tuple[int, Callable[[Rng, int], tuple[np.ndarray, np.ndarray]]]] = {
        "null: spiky x, rare flag": (400, lambda rng, m: (spiky(rng, m), flag(rng, m, 0.03, 0.7))),
        "null: spiky x, common flag": (400, lambda rng, m: (spiky(rng, m), flag(rng, m, 0.2, 0.4))),
        "null: AR(.9) x": (400, lambda rng, m: (processes.ar(rng, m).x, flag(rng, m, 0.15, 0.5))),
        "null: restless where onsets crowd": (400, restless),
        "a tenth of the spikes raises the flag": (1200, lambda rng, m: caused(rng, m, 0.1)),
        "a third of the spikes raises the flag": (1200, lambda rng, m: caused(rng, m, 0.3)),
    }
    rows = []
    for name, (m, make) in kinds.items():
        hits, count = 0, 0
        for run in range(runs):
            rng = seeded(f"onsets {name}", m, seed, run)
            x, up = make(rng, m)
            found = onset_test(x, onsets_of(up), permutations=299, seed=run, fewest_onsets=3)
            hits, count = hits + (found.p <= 0.05), count + found.n_onsets
        good = judged(hits <= MOST_REJECTIONS * runs) if name.startswith("null") else ""
        rows.append((name, m, f"{count / runs:.0f}", runs, rate(hits, runs), good))
        tell(rows[-1])
    return table(["process", "m", "onsets", "R", "p <= .05", "<= .065"], rows)


def events(runs: int, seed: int) -> str:
    """Try the coincidence of independent clustered events, and the interval of the spike-locked average."""
    rows = []
    triggers = precursors = 0
    for run in range(runs):
        rng = seeded("coincidence", 2000, seed, run)
        first, second = (onsets_of(flag(rng, 2000, 0.03, 0.5)) for _ in range(2))
        found = event_coincidence(first, second, 8)
        triggers, precursors = triggers + (found.trigger_p <= 0.05), precursors + (found.precursor_p <= 0.05)
    rows.append(("coincidence, trigger: p <= .05", 2000, runs, rate(triggers, runs)))
    rows.append(("coincidence, precursor: p <= .05", 2000, runs, rate(precursors, runs)))
    few = max(100, runs // 4)
    for name in ("trend", "ar.9", "ar.98"):
        outside = 0
        for run in range(few):
            rng = seeded(f"locked {name}", 1200, seed, run)
            average = locked_average(NULLS[name](rng, 1200).y, rng.random(1200) < 0.03)
            outside += average.effect_low > 0 or average.effect_high < 0
        rows.append(
            (f"spike-locked average, {name}: 0 outside its 95 % interval", 1200, few, rate(outside, few))
        )
        tell(rows[-1])
    return table(["nothing is coupled", "m", "R", "rate"], rows)


def cost(runs: int, seed: int) -> str:
    """Measure the CPU time of one search, and of a pair in three families of lags."""
    rows = []
    for m, repeats in ((75, 50), (400, 50), (4100, 5), (86400, 1)):
        rows.append((m, *(f"{each:.1f}" for each in costs(m, repeats, seed))))
        tell(rows[-1])
    header = ["m", "one search, ms", "with 999 resamplings and guard, ms", "3 families, 4 drivers, ms"]
    return table(header, rows)


def costs(m: int, repeats: int, seed: int) -> tuple[float, float, float]:
    """Return the three times of one length, ms."""
    rng = seeded("cost", m, seed, 0)
    pair, load = processes.cont(rng, m, 0.3, 5), rng.standard_normal((m, 4))
    return (
        cpu_ms(lambda: residual_cross_correlation(pair.x, pair.y, permutations=0), repeats),
        cpu_ms(lambda: residual_cross_correlation(pair.x, pair.y), max(1, repeats // 5)),
        cpu_ms(lambda: couplings_by_family(pair.x, pair.y, load, permutations=0), repeats),
    )


def cpu_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the mean CPU time of a call after one warm-up."""
    call()
    began = time.process_time()
    for _ in range(repeats):
        call()
    return 1e3 * (time.process_time() - began) / repeats


# -- document --------------------------------------------------------------------------------------

PARTS: dict[str, tuple[str, Callable[[int, int], str], float]] = {
    "nulls": ("Nothing is coupled", nulls, 1.0),
    "power": ("Something is coupled", power, 0.4),
    "swap": ("Several runs: session swap", swap, 0.2),
    "verdict": ("Verdicts of long runs", verdict, 0.3),
    "reach": ("What a run could have shown", reach, 0.5),
    "driver": ("Open point 1: the common driver in long runs", driver, 0.5),
    "onsets": ("Open point 2: the onset test", onsets, 1.0),
    "events": ("Events", events, 1.0),
    "cost": ("Cost", cost, 1.0),
}
NOTES = Path(__file__).with_name("calibration_notes.md")


def tell(row: tuple[object, ...]) -> None:
    """Report progress."""
    sys.stderr.write(f"{' '.join(map(str, row))}\n")
    sys.stderr.flush()


def facts(runs: int, seed: int) -> str:
    """Return where, when and with what it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("thermograd", "numpy", "scipy"))
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()}, {packages}, on "
        f"{os.cpu_count()} shared cores ({platform.machine()}); seed {seed}, R = {runs} or as in the tables. "
        "Rates have exact binomial 95 % intervals. m: bins of 1 s. Written by `make calibrate`."
    )


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output", default=str(OUTPUT), help="a file, or - for standard output")
    arguments = parser.parse_args()
    notes = dict(read_notes())
    sections = [f"# Calibration of the statistics\n\n{facts(arguments.runs, arguments.seed)}"]
    for name in arguments.only:
        title, part, share = PARTS[name]
        measured = part(max(20, round(share * arguments.runs)), arguments.seed)
        sections.append("\n\n".join([f"## {title}", *([notes[name]] if name in notes else []), measured]))
    text = "\n\n".join(sections) + "\n"
    if arguments.output == "-":
        sys.stdout.write(text)
    else:
        Path(arguments.output).write_text(text, encoding="utf-8")


def read_notes() -> Iterable[tuple[str, str]]:
    """Return what is to be said on every part, from calibration_notes.md."""
    for block in NOTES.read_text(encoding="utf-8").split("\n## ")[1:]:
        name, _, text = block.partition("\n")
        yield name.strip(), text.strip()


if __name__ == "__main__":
    main()
