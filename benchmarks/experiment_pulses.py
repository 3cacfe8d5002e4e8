"""Training to hardware: how often redrawing pulses is wrong, and how often it finds what is there.

    python benchmarks/experiment_pulses.py              # all parts, 500 runs a row: an hour of one core
    python benchmarks/experiment_pulses.py --only power --runs 1000

Prints a markdown table a part. 60 pulses in 20 minutes: strata of 20 bins of 1 s, places 0 to 8, 10 lags.
"""

import argparse
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
from calibration_page import judged, rate
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.calibrate import random_numbers
from thermograd.analysis.calibration.pulsed_hardware import (
    HARDWARE,
    HardwareSeries,
    answered,
    drawn_pulses,
    hidden_driver_of_both,
)
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.coupling.verdict import verdict
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.pulse.cleaning import cleaned, slow_course
from thermograd.analysis.experiment.pulse.evidence import evidence
from thermograd.analysis.experiment.pulse.response import searched, shapes
from thermograd.analysis.experiment.pulse.scores import Places, complete_strata
from thermograd.analysis.experiment.pulses import analyze_pulses
from thermograd.analysis.experiment.result import Effect

STRATA, STRATUM_BINS, LAG_BINS = 60, 20, 10
PLACES, BINS = STRATUM_BINS - LAG_BINS - 1, STRATA * STRATUM_BINS
ALPHA, REJECT_AT, NULL_REDRAWS = 0.05, 20.0, 999
ERROR = 2.0  # standard errors that a goal with "binomial" allows; 3 where the worst of many rows is judged
LAGS = np.arange(60)
RESPONSES = {
    "one bin, .3 sd": (0.3 * (LAGS == 0), 0.95),
    "memory 10 s, .3 sd": (0.3 * np.exp(-LAGS / 10.0), 0.90),
    "memory 10 s, .15 sd": (0.15 * np.exp(-LAGS / 10.0), None),
    "memory 5 s, 3 s late, .3 sd": (np.where(LAGS >= 3, 0.3 * np.exp(-(LAGS - 3) / 5.0), 0.0), None),
}
Row = tuple[object, ...]
Told = tuple[str, tuple[str, ...], Callable[[int, int], Iterator[Row]]]


def asked(values: Floats, stratum: Floats, place: Floats, seed: int, **more: object) -> list[Effect]:
    """Return what `analyze_pulses` says of one sensor; kinds other than one are in `more`."""
    given = {"kind": ["pulse"] * STRATA, "places": PLACES, "lag_bins": LAG_BINS, "bin_s": 1.0} | more
    return analyze_pulses({"power_w": values}, stratum, place, seed=seed, **given)  # type: ignore[arg-type]


def most(goal: float, runs: int, errors: float = ERROR) -> float:
    """Return the rate that a goal allows with its binomial error."""
    return goal + errors * float(np.sqrt(goal * (1 - goal) / runs))


def first_bins(values: Floats) -> Floats:
    """Return `BINS` of them, NaN where there are fewer (series of irregular steps)."""
    return np.append(values[:BINS], np.full(max(0, BINS - values.size), np.nan))


def counted(hits: int, ever: int, runs: int) -> Row:
    """Return the rates of p <= .05, with whether it holds, and of e >= 20 after any stratum."""
    return runs, rate(hits, runs), judged(hits <= most(ALPHA, runs, 3.0) * runs), rate(ever, runs)


def nulls(runs: int, seed: int) -> Iterator[Row]:
    """Yield a row for every series that no pulse moves, then one of all; the test alone, without sizes."""
    makers = {name: lambda rng, n, of=of: of.shown(of.make(rng, n)) for name, of in HARDWARE.items()}
    makers |= {f"zoo: {name}": lambda rng, n, of=of: of.make(rng, n).y for name, of in ZOO.items()}
    basis, looked = slow_course(BINS), shapes(LAG_BINS + 1)
    found = {name: np.zeros(3, np.int64) for name in makers}
    try:
        for run in range(runs):
            stratum, place, _ = drawn_pulses(np.random.default_rng([seed, run]), STRATA, STRATUM_BINS, PLACES)
            strata = complete_strata(stratum, place, PLACES, LAG_BINS)
            draw = Places(strata, NULL_REDRAWS, np.random.default_rng([seed, run, 1]))
            for name, make in makers.items():
                clean = cleaned(first_bins(make(random_numbers(name, BINS, seed, run), BINS)), basis)
                if clean is None:  # it never moves
                    found[name] += (0, 0, 1)
                    continue
                test = searched(draw, clean, looked)
                is_sure = evidence(draw, clean, looked)[1] >= REJECT_AT
                found[name] += (randomisation_p(test.statistic, test.redrawn) <= ALPHA, is_sure, 1)
    except KeyboardInterrupt:  # what was counted until then
        pass
    for name, counts in found.items():
        yield name, *counted(*counts.tolist())
    yield "all", *counted(*sum(found.values()).tolist())


def sizes(runs: int, seed: int) -> Iterator[Row]:
    """Yield what is said of the size where no pulse moves the hardware series."""
    for name, series in HARDWARE.items():
        zero = band = none = wrong = 0
        least = []
        for run in range(runs):
            rng = random_numbers(name, BINS, seed, run)
            stratum, place, _ = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
            (effect,) = asked(series.shown(series.make(rng, BINS)), stratum, place, run)
            curve = effect.response
            zero += effect.interval[0] <= 0.0 <= effect.interval[1]
            band += bool(((curve.low_sd <= 0) & (curve.high_sd >= 0)).all())
            none, wrong = none + (effect.verdict == "no_effect"), wrong + (effect.verdict == "effect")
            least.append(effect.detectable_sd)
        shares = (rate(each, runs) for each in (zero, band, none, wrong))
        yield name, runs, *shares, f"{np.median(least):.2f}"


def power(runs: int, seed: int) -> Iterator[Row]:
    """Yield a row for every hardware series, response, and meaning of sd."""
    basis = slow_course(BINS)
    for about in ("the series", "its trend"):
        for told, (response, goal) in RESPONSES.items():
            if goal is None and about == "its trend":
                continue
            for name, series in HARDWARE.items():
                found = [
                    _answering(series, name, response, basis, seed, run, about == "its trend")
                    for run in range(runs)
                ]
                hits = sum(each[0].p <= ALPHA for each in found)
                sure = sum(each[0].e_largest >= REJECT_AT for each in found)
                said = sum(each[0].verdict == "no_effect" for each in found)
                held = np.mean([each[1] for each in found])
                sized = np.mean([each[2] for each in found])
                goal_met = judged(hits >= goal * runs) if goal and about == "the series" else ""
                rates = rate(hits, runs), goal_met, f"{sure / runs:.2f}", f"{said / runs:.3f}"
                yield name, told, about, runs, *rates, f"{held:.3f}", f"{sized:.3f}"


def _answering(
    series: HardwareSeries, name: str, response: Floats, basis: Floats, seed: int, run: int, detrended: bool
) -> tuple[Effect, bool, bool]:
    """Return the effect found, and whether band and interval hold the truth."""
    rng = random_numbers(name, BINS, seed, run)
    stratum, place, pulses = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
    plain = series.make(rng, BINS)
    clean = cleaned(plain, basis)
    sd = clean.sd if detrended and clean else float(plain.std())
    values = series.shown(plain + sd * answered(pulses, response))
    (effect,) = asked(values, stratum, place, run)
    curve, truth = effect.response, sd * response[: LAG_BINS + 1]
    scale = curve.unit_per_sd
    band = bool(((curve.low_sd * scale <= truth) & (truth <= curve.high_sd * scale)).all())
    true = sd * response[round(effect.delay_s)]
    return effect, band, effect.interval[0] <= true <= effect.interval[1]


def observed(runs: int, seed: int) -> Iterator[Row]:
    """Yield how often observation and experiment are fooled by a driver of both that nobody logged."""
    coupled = fooled = alone = 0
    for run in range(runs):
        rng = random_numbers("hidden driver of both", BINS, seed, run)
        pair = hidden_driver_of_both(rng, BINS)
        stratum, place, _ = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
        said = verdict(residual_cross_correlation(pair.x, pair.y, max_lag=12, seed=run))[0]
        (effect,) = asked(pair.y, stratum, place, run)
        is_effect = effect.verdict == "effect"
        coupled, fooled = coupled + (said == "coupled"), fooled + (said == "coupled" and is_effect)
        alone += is_effect
    met = judged(fooled <= most(ALPHA, max(coupled, 1)) * coupled)
    yield runs, rate(coupled, runs), rate(fooled, max(coupled, 1)), met, rate(alone, runs)


def kinds(runs: int, seed: int) -> Iterator[Row]:
    """Yield how often two kinds of pulses differ, where each heats by 2 sd and one by `more` sd more."""
    for name, series in HARDWARE.items():
        for more in (0.0, 0.3, 0.6):
            hits = ever = pulse = 0
            for run in range(runs):
                rng = random_numbers(name, BINS, seed, run)
                stratum, place, pulses = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
                plain = series.make(rng, BINS)
                coins = rng.integers(2, size=STRATA)
                pulses[pulses > 0] = 2.0 + more * coins
                added = plain.std() * answered(pulses, np.exp(-LAGS / 3.0))
                told = {"kind": [("zeros", "noise")[coin] for coin in coins], "kinds": ("zeros", "noise")}
                contrast, presence = asked(series.shown(plain + added), stratum, place, run, **told)
                hits, pulse = hits + (contrast.p <= ALPHA), pulse + (presence.p <= ALPHA)
                ever += contrast.e_largest >= REJECT_AT
            met = judged(hits <= most(ALPHA, runs, 3.0) * runs) if more == 0.0 else ""
            yield name, f"{more:g}", runs, rate(hits, runs), met, f"{ever / runs:.3f}", f"{pulse / runs:.2f}"


def large(runs: int, seed: int) -> Iterator[Row]:
    """Yield whether band and interval hold a response of 10 s memory of 0 to 10 sd of the noise.

    Of one kind of pulses, or of two that both answer with 2 sd, the second with so much more.
    """
    worlds = {"white": lambda rng, n: rng.normal(size=n)}
    worlds |= {"AR(.9)": HARDWARE["AR(.9)"].make, "degrees": HARDWARE["whole degrees"].make}
    response = np.exp(-np.arange(120) / 10.0)
    for world, make in worlds.items():
        for size in (0.0, 3.0, 10.0):
            for two in (False, True):
                hits = band = interval = inside = 0
                for run in range(runs):
                    rng = np.random.default_rng([seed, run, len(world), two])
                    stratum, place, pulses = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
                    values, more = make(rng, BINS), {}
                    if two:
                        coins = rng.integers(2, size=STRATA)
                        told = [("zeros", "noise")[coin] for coin in coins]
                        more = {"kind": told, "kinds": ("zeros", "noise")}
                        pulses[pulses > 0] = 2.0 + size * coins
                    values = values + np.convolve(pulses, response if two else size * response)[:BINS]
                    shown = np.round(values) if world == "degrees" else values
                    effect = asked(shown, stratum, place, run, **more)[0]
                    curve, true = (
                        effect.response,
                        size * response[: LAG_BINS + 1] / effect.response.unit_per_sd,
                    )
                    low, high = effect.interval
                    hits += effect.p <= ALPHA
                    band += bool(((curve.low_sd <= true) & (true <= curve.high_sd)).all())
                    interval += low <= size * response[round(effect.delay_s)] <= high
                    inside += low <= effect.effect <= high
                shares = (rate(each, runs) for each in (hits, band, interval, inside))
                yield world, "two" if two else "one", f"{size:g}", runs, *shares


def speed(runs: int, seed: int) -> Iterator[Row]:
    """Yield what one analysis of one sensor takes, 1999 redraws."""
    rng = np.random.default_rng(seed)
    stratum, place, pulses = drawn_pulses(rng, STRATA, STRATUM_BINS, PLACES)
    values = HARDWARE["AR(.9)"].make(rng, BINS) + pulses
    for name, more in (
        ("one kind", {}),
        ("two kinds", {"kind": ["zeros", "noise"] * 30, "kinds": ("zeros", "noise")}),
    ):
        took = []
        for _ in range(20):
            begun = time.process_time()
            asked(values, stratum, place, seed, **more)
            took.append(1e3 * (time.process_time() - begun))
        yield name, f"{np.median(took):.0f} ms", f"{min(took):.0f}-{max(took):.0f} ms"


RATES = ("e >= 20 ever", "said no_effect")
PARTS: dict[str, Told] = {
    "nulls": (
        "Nothing answers the pulses",
        ("series", "R", "p <= .05", "held", "e >= 20 ever"),
        nulls,
    ),
    "sizes": (
        "What is said of the size where nothing answers",
        (
            "series",
            "R",
            "interval holds 0",
            "band holds 0",
            "no_effect",
            "effect",
            "detectable, sd about trend",
        ),
        sizes,
    ),
    "power": (
        "Pulses that are answered",
        (
            "series",
            "response",
            "sd of",
            "R",
            "p <= .05",
            "goal",
            *RATES,
            "band holds it",
            "interval holds it",
        ),
        power,
    ),
    "observed": (
        "A driver of both that nobody logged",
        ("R", "observation: coupled", "of them experiment: effect", "held", "experiment: effect, of all"),
        observed,
    ),
    "kinds": (
        "Two kinds of pulses",
        (
            "series",
            "second kind more, sd",
            "R",
            "contrast p <= .05",
            "held",
            "e >= 20 ever",
            "pulse p <= .05",
        ),
        kinds,
    ),
    "large": (
        "Large responses, and two kinds",
        ("noise", "kinds", "sd", "R", "p <= .05", "band holds it", "interval holds it", "estimate inside"),
        large,
    ),
    "speed": ("What it takes", ("what", "median", "range"), speed),
}


def main() -> None:
    """Print the parts asked for; SIGTERM or Ctrl-C ends the nulls with what was counted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), nargs="*", default=list(PARTS))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=18)
    given = parser.parse_args()
    for part in given.only:
        title, columns, rows = PARTS[part]
        print(f"### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
        with one_blas_thread():
            for row in rows(given.runs, given.seed):
                print(f"| {' | '.join(map(str, row))} |", flush=True)
        print()


if __name__ == "__main__":
    main()
