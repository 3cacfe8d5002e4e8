"""How often the statistics are wrong, and how often they find what is there: measured on known truth.

The processes of `processes`, at a given number of bins: the naive correlation beside the residual one.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.processes import NULLS, Maker, Pair, couplings
from thermograd.analysis.calibration.zoo import Process, process_named
from thermograd.analysis.coupling.by_family import shown_both_ways
from thermograd.analysis.coupling.cross_correlation import (
    Coupling,
    Family,
    naive_pearson,
    residual_cross_correlation,
)
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.coupling.verdict import verdict
from thermograd.store.errors import NotEnoughDataError

_ALPHA = 0.05
_FEWEST_BINS = 60
_MIN_PERIOD_S = 1.0  # faster samples are averaged, see `align.causal_grid`
_MAX_LAG_S = 12.0

# What `calibrate` measures unless told: the first ones, and one of each kind that has fooled it.
CHOSEN = (
    *NULLS,
    *("memswitch", "cycle24", "pulses20", "boxcar20", "trendgaps", "irregular"),
    *couplings(),
    *("missing15", "slow30-trends"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts over seeded runs of one process."""

    # name, bins, runs: what was drawn
    name: str
    bins: int
    runs: int
    true_lag: int | None  # in bins; None where nothing is coupled
    naive: int  # runs in which Pearson's p of the raw values is at most .05
    naive_strong: int  # runs in which its |r| is above .7
    found: int  # runs in which our p is at most .05
    # coupled, excluded: runs that end as "coupled" (p, and not one second alone), and as "no_coupling" above
    # .2
    coupled: int
    excluded: int
    lag_found: int  # runs whose peak is within one bin of the true lag


@dataclass(slots=True)
class Calibration:
    """What `calibrate` measured; `runs_wanted` and `finished` tell whether it was cut short."""

    bins: int
    period_s: float
    max_lag: int
    runs_wanted: int
    seed: int
    nulls: list[Measured] = field(default_factory=list)
    coupled: list[Measured] = field(default_factory=list)
    finished: bool = False


def binomial_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Clopper & Pearson 1934, Biometrika 26:404).

    Examples
    --------
    >>> [round(end, 3) for end in binomial_interval(50, 1000)]
    [0.037, 0.065]
    """
    low = 0.0 if hits == 0 else float(scipy.special.betaincinv(hits, trials - hits + 1, 0.025))
    high = 1.0 if hits == trials else float(scipy.special.betaincinv(hits + 1, trials - hits, 0.975))
    return low, high


def calibrate(
    runs: int = 200,
    hz: float = 1.0,
    minutes: float = 10.0,
    seed: int = 0,
    on_step: Callable[[str, int, int], None] | None = None,
    processes: Sequence[str] | None = None,
) -> Calibration:
    """Measure false positives and power for runs of a length and sampling rate.

    Parameters
    ----------
    runs
        Runs of every process.
    hz
        Rate of the slower of steps and samples; above 1 Hz bins of 1 s are tested.
    minutes
        Length of a run.
    seed
        The same seed gives the same table.
    on_step
        Called with (process, done, all) processes before each one.
    processes
        Names in the zoo; `CHOSEN` unless told. Where bins are long, our own couplings answer within the lags
        searched; others that answer later are left out.

    Returns
    -------
    Calibration
        Also after Ctrl-C (KeyboardInterrupt), with what was measured until then.

    Raises
    ------
    NotEnoughDataError
        If such a run has fewer than 60 bins, the least that is ever tested.
    ScenarioError
        If there is no such process.
    """
    period_s = max(1.0 / hz, _MIN_PERIOD_S)
    bins, max_lag = round(minutes * 60 / period_s), max(1, round(_MAX_LAG_S / period_s))
    if bins < _FEWEST_BINS:
        raise NotEnoughDataError(
            f"{minutes:g} minutes at {hz:g} Hz are {bins} bins; at least {_FEWEST_BINS} are needed"
        )
    result = Calibration(bins, period_s, max_lag, runs, seed)
    jobs = _jobs(result, [process_named(name) for name in processes or CHOSEN])
    try:
        for done, (rows, name, make, lag) in enumerate(jobs):
            if on_step is not None:
                on_step(name, done, len(jobs))
            rows.append(measure(name, make, bins, runs, true_lag=lag, max_lag=max_lag, seed=seed))
        result.finished = True
    except KeyboardInterrupt:
        pass
    return result


def _jobs(
    result: Calibration, processes: Sequence[Process]
) -> list[tuple[list[Measured], str, Maker, int | None]]:
    """Return what is to be measured: rows to append to, name, maker, true lag in bins."""
    fitting = couplings(result.max_lag)
    jobs = []
    for process in processes:
        make, lag = fitting.get(process.name, (process.make, process.lag_s))
        rows = result.nulls if process.response in (None, "once") else result.coupled
        if lag is None or abs(lag) <= result.max_lag or process.response == "other":
            jobs.append((rows, process.name, make, lag))
    return jobs


@one_blas_thread()
def measure(
    name: str,
    make: Maker,
    bins: int,
    runs: int,
    *,
    true_lag: int | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
) -> Measured:
    """Draw runs of a process, test each, and count.

    Run number k of a process depends on its name, the bins, the seed and k alone.
    """
    counts = np.zeros(6, dtype=np.int64)
    for run in range(runs):
        pair = make(random_numbers(name, bins, seed, run), bins)
        counts += _outcome(pair, true_lag, max_lag, permutations, run)
    return Measured(name, bins, runs, true_lag, *counts.tolist())


def random_numbers(name: str, bins: int, seed: int, run: int) -> np.random.Generator:
    """Return the generator of one run of a process."""
    return np.random.default_rng([zlib.crc32(name.encode()), bins, seed, run])


def _outcome(
    pair: Pair, true_lag: int | None, max_lag: int, permutations: int, seed: int
) -> tuple[bool, ...]:
    """Return what `Measured` counts, in its order."""
    leads = true_lag is not None and true_lag < 0

    def tested(drivers: Floats | None) -> dict[Family, Coupling]:
        family: Family = "reverse" if leads else "forward"
        found = residual_cross_correlation(
            pair.x,
            pair.y,
            drivers,
            max_lag=max_lag,
            permutations=permutations,
            seed=seed,
            family="reverse" if leads else None,
        )
        return {family: found}

    held = tested(pair.all_drivers())
    if pair.moved is not None:
        held = shown_both_ways(held, lambda: tested(pair.drivers))
    (result,) = held.values()
    r, said = naive_pearson(pair.x, pair.y), verdict(result)[0]
    df = int(np.isfinite(pair.x + pair.y).sum()) - 2
    p = 2.0 * float(scipy.special.stdtr(df, -abs(r) * math.sqrt(df / max(1 - r * r, 1e-300))))
    return (
        p <= _ALPHA,
        abs(r) > 0.7,
        result.p <= _ALPHA,
        said == "coupled",
        said == "no_coupling",
        true_lag is not None and abs(result.lag - true_lag) <= 1,
    )
