"""Coupling over several runs: whether training fits its own hardware better than another run's.

What all runs share (a schedule, a warm-up, an evaluation at the same minute) fits every other run's
hardware just as well, and so proves nothing here. What makes both series of one run restless at the
same time does fit that run best; random signs within the runs show how well by chance.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from thermograd.analysis.coupling.pair_residuals import Paired
from thermograd.analysis.coupling.random_effects import Pooled, as_t, pool, usable_runs
from thermograd.analysis.coupling.resampling import LaggedPair, sign_flipped_profiles
from thermograd.analysis.display.markup import element, items, table
from thermograd.analysis.display.numbers import interval, shown_number

SwapFamily = Literal["forward", "reverse"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEWEST_RUNS = 5
_ALL_ORDERS_UP_TO = 6  # runs: 720 orders
_RESAMPLE_BELOW = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SessionSwap:
    """What several runs say together.

    Attributes
    ----------
    p
        The larger of the two below that were computed; NaN with fewer than 5 usable runs: then all
        else describes, and supports nothing.
    p_swap
        Share of the pairings of training with hardware runs whose peak is as large as the true one's.
    p_sign_flip
        The same for random signs of the training residuals; None where p_swap is above 0.1 or a
        hardware series has only two values.
    r
        Residual correlation pooled by random effects, each run's taken at the lag that the OTHER
        runs chose. It describes an association; only `p` supports one, for what all runs share
        moves r as well. NaN with fewer than 2 usable runs.
    lag
        Lag of the common peak in bins; lag > 0: x leads and y follows.
    r_low, r_high
        95 % interval of `r` (Hartung-Knapp-Sidik-Jonkman), simultaneous over the lags: the runs
        share most of the others that chose their lag, so a single lag's interval would be too short.
    i_squared
        Share of the runs' variance that is not sampling error, 0 to 1.
    n_runs
        Runs that entered.
    run_index
        Their places among the runs given.
    run_r, run_low, run_high, run_lag
        Shape (n_runs,): what was pooled, each with its own 95 % interval.
    lags, profile
        Shape (n_lags,): lags searched, and the mean t statistic at each.
    reasons
        Plain sentences on runs left out, or on why there is no p.
    """

    p: float
    p_swap: float
    p_sign_flip: float | None
    r: float
    lag: int
    r_low: float
    r_high: float
    i_squared: float
    n_runs: int
    run_index: list[int]
    run_r: Floats
    run_low: Floats
    run_high: Floats
    run_lag: Ints
    lags: Ints
    profile: Floats
    reasons: list[str]

    def _repr_html_(self) -> str:
        pass

        return swap_html(self)


def session_swap(
    xs: Sequence[ArrayLike],
    ys: Sequence[ArrayLike],
    drivers: Sequence[ArrayLike | None] | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
    *,
    unlagged: Sequence[ArrayLike | None] | None = None,
    driver_lags: int = 3,
    family: SwapFamily = "forward",
) -> SessionSwap:
    """Test coupling over runs by exchanging which hardware goes with which training.

    Parameters
    ----------
    xs, ys
        One pair of series per run, each as for `residual_cross_correlation`; lengths may differ
        between runs. Bins without a value are NaN, so that bin k is the same time in both. Runs must
        have different seeds: one whose x repeats another's is left out.
    drivers, unlagged
        Per run, as for `residual_cross_correlation`, or None.
    max_lag
        Lags 0..max_lag are searched, in bins; for the reverse family -max_lag..-1.
    permutations
        Random pairings; with up to 6 runs all pairings are tried instead.
    seed
        Seed of the random pairings.
    driver_lags
        In bins.
    family
        "forward": x leads, or both at the same time; "reverse": y leads.

    Returns
    -------
    SessionSwap
        With NaN for p where fewer than 5 usable runs are left, and for r where fewer than 2.

    Raises
    ------
    ValueError
        If the numbers of series differ, or the shapes within a run.

    References
    ----------
    Harris (2020), bioRxiv 2020.11.29.402719 (session permutation); for the pooling see `pooling.pool`.
    """
    lags = _lags(family, max_lag)
    usable = usable_runs(xs, ys, drivers, driver_lags, max(20, 2 * (max_lag + 1)), unlagged)
    runs, reasons = usable.runs, usable.reasons
    if len(runs) < _FEWEST_RUNS:
        reasons.append(f"Only {len(runs)} different runs can be used; at least {_FEWEST_RUNS} are needed.")
    if len(runs) < 2:
        return _no_result(usable.index, lags, reasons)
    r, df = _all_pairings(runs, lags)
    t = as_t(r, df)
    own = np.arange(len(runs))
    p_swap, p_flip = float("nan"), None
    if len(runs) >= _FEWEST_RUNS:
        p_swap = _swap_p(t, permutations, seed)
        if p_swap <= _RESAMPLE_BELOW and not any(run.binary_y for run in runs):
            p_flip = _sign_flip_p(runs, t[own, own], lags, permutations, seed)
    return _result(
        p_swap, p_flip, pool(r[own, own], df[own, own, 0], lags), usable.index, lags, t[own, own], reasons
    )


def _lags(family: SwapFamily, max_lag: int) -> Ints:
    fewest = {"forward": 0, "reverse": 1}
    if family not in fewest:
        raise ValueError(f"family is {family!r}; expected 'forward' or 'reverse'")
    if max_lag < fewest[family]:
        raise ValueError(f"max_lag is {max_lag!r}; expected bins >= {fewest[family]}")
    return np.arange(max_lag + 1) if family == "forward" else np.arange(-max_lag, 0)


def _result(
    p_swap: float,
    p_flip: float | None,
    pooled: Pooled,
    index: list[int],
    lags: Ints,
    t: Floats,
    reasons: list[str],
) -> SessionSwap:
    return SessionSwap(
        p=p_swap if p_flip is None else max(p_swap, p_flip),
        p_swap=p_swap,
        p_sign_flip=p_flip,
        r=pooled.r,
        lag=pooled.lag,
        r_low=pooled.low,
        r_high=pooled.high,
        i_squared=pooled.i_squared,
        n_runs=len(index),
        run_index=index,
        run_r=pooled.run_r,
        run_low=pooled.run_low,
        run_high=pooled.run_high,
        run_lag=pooled.run_lag,
        lags=lags,
        profile=t.mean(axis=0),
        reasons=reasons,
    )


def _all_pairings(runs: Sequence[Paired], lags: Ints) -> tuple[Floats, Floats]:
    """Return r of x of run i with y of run j at every lag, shape (k, k, n_lags), and its df."""
    xs, ys = ([np.nan_to_num(run.full(part(run))) for run in runs] for part in (_x_of, _y_of))
    r, df = np.empty((len(runs), len(runs), lags.size)), np.empty((len(runs), len(runs), 1))
    reach = int(np.abs(lags).max())
    for i, j in itertools.product(range(len(runs)), repeat=2):
        length = min(xs[i].size, ys[j].size)
        x, y = xs[i][:length], np.pad(ys[j][:length], reach)
        shifted = y[np.arange(length)[:, None] + lags + reach]
        scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
        r[i, j] = x @ shifted / scale if scale > 0 else 0.0
        bins, columns = int(((x != 0) & (ys[j][:length] != 0)).sum()), runs[i].nuisance.shape[1]
        df[i, j] = max(bins - columns - 2, 2)
    return r, df


def _x_of(run: Paired) -> Floats:
    return run.x


def _y_of(run: Paired) -> Floats:
    return run.y


def _swap_p(t: Floats, permutations: int, seed: int) -> float:
    runs = np.arange(len(t))
    observed = float(np.abs(t[runs, runs].mean(axis=0)).max())
    exhaustive = runs.size <= _ALL_ORDERS_UP_TO
    orders = _all_orders(runs.size) if exhaustive else _random_orders(runs.size, permutations, seed)
    peaks = np.abs(t[runs, orders].mean(axis=1)).max(axis=1)
    as_large = int((peaks >= observed * (1.0 - 1e-12)).sum())
    # All pairings include the true one; random ones need it added.
    return as_large / len(orders) if exhaustive else (1 + as_large) / (len(orders) + 1)


def _all_orders(runs: int) -> Ints:
    return np.array(list(itertools.permutations(range(runs))))


def _random_orders(runs: int, permutations: int, seed: int) -> Ints:
    return np.random.default_rng(seed).permuted(np.tile(np.arange(runs), (permutations, 1)), axis=1)


def _sign_flip_p(runs: Sequence[Paired], t: Floats, lags: Ints, permutations: int, seed: int) -> float:
    rng = np.random.default_rng([seed, 1])
    total = np.zeros((permutations, lags.size))
    for run in runs:
        pair = LaggedPair.build(run.x, run.y, run.nuisance, run.segments, lags)
        df = max(run.rows.size - run.nuisance.shape[1] - 2, 2)
        total += as_t(sign_flipped_profiles(pair, permutations, rng), df)
    observed = float(np.abs(t.sum(axis=0)).max())
    as_large = int((np.abs(total).max(axis=1) >= observed * (1.0 - 1e-12)).sum())
    return (1 + as_large) / (permutations + 1)


def _no_result(index: list[int], lags: Ints, reasons: list[str]) -> SessionSwap:
    nothing = float("nan")
    return SessionSwap(
        p=nothing,
        p_swap=nothing,
        p_sign_flip=None,
        r=nothing,
        lag=0,
        r_low=nothing,
        r_high=nothing,
        i_squared=nothing,
        n_runs=len(index),
        run_index=index,
        run_r=np.empty(0),
        run_low=np.empty(0),
        run_high=np.empty(0),
        run_lag=np.empty(0, dtype=np.int64),
        lags=lags,
        profile=np.full(lags.size, np.nan),
        reasons=reasons,
    )


def swap_html(swap: "SessionSwap") -> str:
    """Return what a session swap says, with every run that entered."""
    header = ("", "r", "95 % interval", "Lag, bins")
    places = zip(swap.run_index, swap.run_r, swap.run_low, swap.run_high, swap.run_lag, strict=True)
    rows = [
        (f"run {place + 1}", shown_number(r, "+.2f"), interval(low, high), f"{int(lag):+d}")
        for place, r, low, high, lag in places
    ]
    rows.append(("pooled", shown_number(swap.r, "+.2f"), interval(swap.r_low, swap.r_high), f"{swap.lag:+d}"))
    p = f"p = {swap.p:.2g}" if math.isfinite(swap.p) else "no p"
    said = element("p", element("strong", f"Session swap of {swap.n_runs} runs: {p}"))
    return element("div", said, table(header, rows, "tnnn", "Session swap"), items(swap.reasons))
