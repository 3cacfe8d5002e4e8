"""Coupling over several runs: whether training fits its own hardware better than another run's.

What all runs share (a schedule, a warm-up, an evaluation at the same minute) fits every other run's
hardware just as well, and so proves nothing here. What makes both series of one run restless at the
same time does fit that run best; random signs within the runs show how well by chance.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired
from thermograd.analysis.coupling.cross_correlation import family_lags, shortest_series
from thermograd.analysis.coupling.evidence.resampling import sign_flipped_profiles
from thermograd.analysis.coupling.random_effects import Pooled, as_t, pool, usable_runs
from thermograd.analysis.coupling.responses import Searched
from thermograd.analysis.display.markup import element, items
from thermograd.analysis.display.numbers import interval, shown_number
from thermograd.analysis.display.table import Table

SwapFamily = Literal["forward", "reverse"]

_ALPHA = 0.05
_FEWEST_RUNS = 5
_ALL_ORDERS_UP_TO = 6  # runs: 720 orders
_RESAMPLE_BELOW = 0.1
_EACH_RUN = {"": "t", "r": "n", "95 % interval": "n", "Lag, bins": "n"}


@dataclass(frozen=True, eq=False, kw_only=True)
class SessionSwap(Pooled):
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
    r, lag, r_low, r_high, i_squared, run_r, run_low, run_high, run_lag
        Pooled by random effects, each run's r taken at the lag that the OTHER runs chose: see
        `random_effects.Pooled`. It describes an association; only `p` supports one, for what all runs
        share moves r as well. r is NaN with fewer than 2 usable runs.
    run_index
        Places of the runs that entered among the runs given.
    lags, profile
        Shape (n_lags,): lags searched, and the mean t statistic at each.
    reasons
        Plain sentences on runs left out, or on why there is no p.
    """

    p_swap: float = float("nan")
    p_sign_flip: float | None = None
    run_index: list[int]
    lags: Ints
    profile: Floats
    reasons: list[str]

    @property
    def p(self) -> float:
        """The larger of the p-values that were computed."""
        return self.p_swap if self.p_sign_flip is None else max(self.p_swap, self.p_sign_flip)

    @property
    def n_runs(self) -> int:
        """Runs that entered."""
        return len(self.run_index)

    def _repr_html_(self) -> str:
        places = zip(self.run_index, self.run_r, self.run_low, self.run_high, self.run_lag, strict=True)
        lines = [(f"run {place + 1}", r, low, high, lag) for place, r, low, high, lag in places]
        lines.append(("pooled", self.r, self.r_low, self.r_high, self.lag))
        rows = [
            (name, shown_number(r, "+.2f"), interval(low, high), f"{int(lag):+d}")
            for name, r, low, high, lag in lines
        ]
        p = f"p = {self.p:.2g}" if math.isfinite(self.p) else "no p"
        said = element("p", element("strong", f"Session swap of {self.n_runs} runs: {p}"))
        return element("div", said, Table(_EACH_RUN, rows, "Session swap"), items(self.reasons))


def session_swap(
    xs: Sequence[ArrayLike],
    ys: Sequence[ArrayLike],
    drivers: Sequence[ArrayLike | None] | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
    *,
    unlagged: Sequence[ArrayLike | None] | None = None,
    moved: Sequence[ArrayLike] | None = None,
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
    moved
        Per run, further drivers, shape (n, k), that training and hardware may themselves move, such as the
        step time: what is found with them must be found without them too (see `by_family`).
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
    Harris (2020), bioRxiv 2020.11.29.402719 (session permutation); for the pooling see `random_effects.pool`.
    """
    lags = _lags(family, max_lag)
    known = [None] * len(xs) if drivers is None else list(drivers)

    def swapped(by: Sequence[ArrayLike | None]) -> SessionSwap:
        shortest = shortest_series(max_lag)
        return _swapped(*usable_runs(xs, ys, by, driver_lags, shortest, unlagged), lags, permutations, seed)

    if moved is None or not any(np.size(columns) for columns in moved):
        return swapped(known)
    held = swapped([_beside(own, columns) for own, columns in zip(known, moved, strict=True)])
    return _less_surprising(held, swapped(known)) if held.p <= _ALPHA else held


def _beside(drivers: ArrayLike | None, moved: ArrayLike) -> Floats:
    columns = np.asarray(moved, dtype=np.float64)
    return columns if drivers is None else np.column_stack([np.asarray(drivers, dtype=np.float64), columns])


def _less_surprising(held: SessionSwap, free: SessionSwap) -> SessionSwap:
    """Return what was found with drivers that both sides may move, with the larger p of with and without."""
    if not free.p > held.p:
        return held
    said = []
    if free.p > _ALPHA:
        said = [f"With what training and hardware may both move (step time) left in, p is {free.p:.2g}."]
    return replace(held, p_swap=free.p_swap, p_sign_flip=free.p_sign_flip, reasons=held.reasons + said)


def _swapped(
    runs: list[Paired], index: list[int], reasons: list[str], lags: Ints, permutations: int, seed: int
) -> SessionSwap:
    if len(runs) < _FEWEST_RUNS:
        reasons.append(f"Only {len(runs)} different runs can be used; at least {_FEWEST_RUNS} are needed.")
    if len(runs) < 2:
        return SessionSwap(run_index=index, lags=lags, profile=np.full(lags.size, np.nan), reasons=reasons)
    r, df = _all_pairings(runs, lags)
    t, own = as_t(r, df), np.arange(len(runs))
    p_swap, p_flip = float("nan"), None
    if len(runs) >= _FEWEST_RUNS:
        p_swap = _swap_p(t, permutations, seed)
        if p_swap <= _RESAMPLE_BELOW and not any(run.binary_y for run in runs):
            p_flip = _sign_flip_p(runs, t[own, own], lags, permutations, seed)
    return SessionSwap(
        **vars(pool(r[own, own], df[own, own, 0], lags)),
        p_swap=p_swap,
        p_sign_flip=p_flip,
        run_index=index,
        lags=lags,
        profile=t[own, own].mean(axis=0),
        reasons=reasons,
    )


def _lags(family: SwapFamily, max_lag: int) -> Ints:
    if family not in ("forward", "reverse"):
        raise ValueError(f"family is {family!r}; expected 'forward' or 'reverse'")
    return family_lags(
        "reverse" if family == "reverse" else None, max_lag
    )  # at the same time is forward here


def _all_pairings(runs: Sequence[Paired], lags: Ints) -> tuple[Floats, Floats]:
    """Return r of x of run i with y of run j at every lag, shape (k, k, n_lags), and its df.

    r is taken over the bins in which both are known: two runs rarely miss the same, and over all bins the
    pairings that are not the true one would be smaller for that alone.
    """
    xs, ys = ([run.full(getattr(run, side)) for run in runs] for side in "xy")
    r, df = np.empty((len(runs), len(runs), lags.size)), np.empty((len(runs), len(runs), 1))
    for i, j in itertools.product(range(len(runs)), repeat=2):
        length = min(xs[i].size, ys[j].size)
        r[i, j] = _correlations(xs[i][:length], ys[j][:length], lags)
        bins = int((np.isfinite(xs[i][:length]) & np.isfinite(ys[j][:length])).sum())
        df[i, j] = _df(bins, runs[i])
    return r, df


def _correlations(x: Floats, y: Floats, lags: Ints) -> Floats:
    """Return r of x at t and y at t + lag over the bins that are known in both; NaN is not known."""
    reach = int(np.abs(lags).max())
    at = np.arange(x.size)[:, None] + lags + reach
    known_x = np.isfinite(x).astype(np.float64)
    x, y = np.nan_to_num(x), np.pad(y, reach, constant_values=np.nan)
    known_y, y = np.isfinite(y).astype(np.float64)[at], np.nan_to_num(y)[at]
    scale = np.sqrt(((x * x) @ known_y) * (known_x @ (y * y)))
    return np.asarray(np.divide(x @ y, scale, out=np.zeros(lags.size), where=scale > 0))


def _df(bins: int, run: Paired) -> int:
    return int(max(bins - run.basis_x.width - 2, 2))


def _swap_p(t: Floats, permutations: int, seed: int) -> float:
    runs = np.arange(len(t))
    exhaustive = runs.size <= _ALL_ORDERS_UP_TO
    if exhaustive:
        orders = np.array(list(itertools.permutations(range(runs.size))))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(runs, (permutations, 1)), axis=1)
    observed = float(_peaks(t[runs, runs][None])[0])
    as_large = int((_peaks(t[runs, orders]) >= observed * (1.0 - 1e-12)).sum())
    # All pairings include the true one; random ones need it added.
    return as_large / len(orders) if exhaustive else (1 + as_large) / (len(orders) + 1)


def _peaks(t: Floats) -> Floats:
    """Return the largest mean t of every pairing, in its own spread between runs; `t`: (k, runs, n_lags).

    What a run's own series share besides a coupling (missing bins, restlessness) spreads its t more widely
    than that of others, in either direction.
    """
    spread = np.sqrt(t.var(axis=1, ddof=1).mean(axis=1).clip(min=1.0))
    return np.asarray(np.abs(t.mean(axis=1)).max(axis=1) / spread)


def _sign_flip_p(runs: Sequence[Paired], t: Floats, lags: Ints, permutations: int, seed: int) -> float:
    rng = np.random.default_rng([seed, 1])
    total = np.zeros((permutations, lags.size))
    looked, y_leads = Searched(np.sort(np.abs(lags)), np.empty(0)), bool(lags[0] < 0)
    for run in runs:
        pair = run.oriented(y_leads).pair(looked)
        r = np.vstack(list(sign_flipped_profiles(pair, permutations, rng)))
        total += as_t(r, _df(run.rows.size, run))
    observed = float(np.abs(t.sum(axis=0)).max())
    as_large = int((np.abs(total).max(axis=1) >= observed * (1.0 - 1e-12)).sum())
    return (1 + as_large) / (permutations + 1)
