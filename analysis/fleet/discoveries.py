"""Which of thousands of tests are to be believed: false discoveries over runs, errors within a run.

Tests of one run share its training series and its devices, and no method for dependent tests is cheap. So a
run first counts as one test: the smallest p of its pairs and events, times their number (Bonferroni, which
any dependence leaves valid). Over the runs false discoveries are controlled by Benjamini and Hochberg's
step-up where runs are independent, by Benjamini and Yekutieli's, which needs nothing, where two of them ran
on one host at the same time. Within a run that is selected Holm's method says which pairs did it, at the
share of the level that selection leaves (Benjamini & Bogomolov 2014): so the false discoveries among the
pairs that are named are controlled, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.coupling.verdict import holm

Method = Literal["BH", "BY"]
LEVEL = 0.05


def fdr_adjusted(p_values: ArrayLike, method: Method = "BH") -> Floats:
    """Return q for every p: the false discovery rate at which it would just be selected.

    Shape (k,); NaN stands for a test that could not be made, is not counted, and stays.

    References
    ----------
    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289-300; Benjamini & Yekutieli (2001), Ann. Stat.
    29:1165-1188.

    Examples
    --------
    >>> fdr_adjusted([0.01, 0.04, float("nan"), 0.03]).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    q = np.full(p.shape, np.nan)
    if not order.size:
        return q
    rank = np.arange(1, order.size + 1)
    factor = float((1.0 / rank).sum()) if method == "BY" else 1.0
    scaled = p[order] * (factor * order.size) / rank
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


@dataclass(frozen=True, slots=True)
class Discoveries:
    """What was selected."""

    run_q: Floats  # shape (runs,): q of every run; NaN of one without a test
    p_adjusted: Floats  # shape (tests,): over the tests of its run, by Holm's method
    found: Mask  # shape (tests,)
    method: Method


def discoveries(
    p: Floats, run: Sequence[int], runs: int, method: Method, level: float = LEVEL
) -> Discoveries:
    """Select runs, and of these the tests.

    `p`, shape (tests,), NaN for what was not tested; `run`: the place of each test's run.
    """
    of_run = np.asarray(run, dtype=np.int64)
    adjusted, run_p = np.full(p.size, np.nan), np.full(runs, np.nan)
    order = np.argsort(of_run, kind="stable")
    for tests in np.split(order, np.flatnonzero(np.diff(of_run[order])) + 1):
        if tests.size and np.isfinite(p[tests]).any():
            adjusted[tests] = holm(p[tests])
            run_p[of_run[tests[0]]] = np.nanmin(adjusted[tests])
    run_q = fdr_adjusted(run_p, method)
    selected = run_q <= level
    tested = int(np.isfinite(run_p).sum())
    share = level * int(selected.sum()) / max(tested, 1)
    found = selected[of_run] & (adjusted <= share) if of_run.size else np.zeros(0, dtype=np.bool_)
    return Discoveries(run_q, adjusted, found, method)


def method_for(host: Sequence[str | None], began_ns: Sequence[int], ended_ns: Sequence[int]) -> Method:
    """Return BH where no two runs shared a host at one time, else BY: one hot rack moves both.

    Where the host is not known, a run may share it with any other.
    """
    times = sorted(zip(began_ns, ended_ns, host, strict=True), key=lambda each: each[0])
    until: dict[str | None, int] = {}
    for begin, end, name in times:
        reach = (
            max(until.values(), default=begin)
            if name is None
            else max(until.get(name, begin), until.get(None, begin))
        )
        if reach > begin:
            return "BY"
        until[name] = max(end, until.get(name, end))
    return "BH"
