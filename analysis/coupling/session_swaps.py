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
    Harris (2020), bioRxiv 2020.11.29.402719 (session permutation); for the pooling see `random_effects.pool`.
    """
    lags = _lags(family, max_lag)
    shortest = shortest_series(max_lag)
    runs, index, reasons = usable_runs(xs, ys, drivers, driver_lags, shortest, unlagged)
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
    """Return r of x of run i with y of run j at every lag, shape (k, k, n_lags), and its df."""
    xs, ys = ([np.nan_to_num(run.full(getattr(run, side))) for run in runs] for side in "xy")
    r, df = np.empty((len(runs), len(runs), lags.size)), np.empty((len(runs), len(runs), 1))
    reach = int(np.abs(lags).max())
    for i, j in itertools.product(range(len(runs)), repeat=2):
        length = min(xs[i].size, ys[j].size)
        x, y = xs[i][:length], np.pad(ys[j][:length], reach)
        shifted = y[np.arange(length)[:, None] + lags + reach]
        scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
        r[i, j] = x @ shifted / scale if scale > 0 else 0.0
        bins = int(((x != 0) & (ys[j][:length] != 0)).sum())
        df[i, j] = _df(bins, runs[i])
    return r, df


def _df(bins: int, run: Paired) -> int:
    return int(max(bins - run.basis_x.shape[1] - 2, 2))


def _swap_p(t: Floats, permutations: int, seed: int) -> float:
    runs = np.arange(len(t))
    observed = float(np.abs(t[runs, runs].mean(axis=0)).max())
    exhaustive = runs.size <= _ALL_ORDERS_UP_TO
    if exhaustive:
        orders = np.array(list(itertools.permutations(range(runs.size))))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(runs, (permutations, 1)), axis=1)
    peaks = np.abs(t[runs, orders].mean(axis=1)).max(axis=1)
    as_large = int((peaks >= observed * (1.0 - 1e-12)).sum())
    # All pairings include the true one; random ones need it added.
    return as_large / len(orders) if exhaustive else (1 + as_large) / (len(orders) + 1)


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
