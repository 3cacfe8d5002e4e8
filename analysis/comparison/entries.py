"""What a comparison is made of: one run among those compared, and one pair of signals over all of them."""

import math
from dataclasses import dataclass
from typing import Any

from thermograd.analysis.coupling.swap import SessionSwap, SwapFamily
from thermograd.analysis.run.result import Pair


@dataclass(eq=False)
class ComparedRun:
    """One run among those compared.

    Attributes
    ----------
    run_id, name, state, truth
        From the run; `truth` of a simulated one.
    verdict
        Of the whole run, as `analyze` gives it.
    pair
        The pair of signals that is compared, as `analyze` judged it in this run; None where it is not
        there.
    smallest_detectable_r
        What the run alone would show nine times out of ten; None where it is too short.
    devices
        Devices that took part, by role.
    repeats
        Run id of the run whose training this one repeats, and how they are alike; None otherwise.
    """

    run_id: str
    name: str
    state: str
    verdict: str
    pair: Pair | None
    smallest_detectable_r: float | None
    seed: Any
    minutes: float
    devices: dict[str, str]
    truth: dict[str, Any] | None = None
    repeats: tuple[str, str] | None = None


@dataclass(eq=False)
class PairAcross:
    """One pair of signals, in one direction, over all runs.

    Attributes
    ----------
    x, y, role, family
        Signals, role of the device, and direction: "forward" (training leads, or both at the same time)
        or "reverse".
    period_s
        Length of a bin.
    swap
        The session swap and the pooled effect; its lags are in bins.
    run_ids
        Runs that entered, in the order of the swap's arrays; empty where fewer than 2 could.
    p_adjusted
        After Holm's correction: over the two directions for the chosen pair, over all pairs for others.
    naive_own, naive_others
        Median naive r of the norm with its own run's hardware, and with the other runs' hardware, which
        cannot be coupled to it; NaN where unknown.
    """

    x: str
    y: str
    role: str
    family: SwapFamily
    period_s: float
    swap: SessionSwap
    run_ids: list[str]
    naive_own: float
    naive_others: float
    p_adjusted: float = math.nan

    @property
    def lag_s(self) -> float:
        """Lag of the common peak, s; above 0: training leads."""
        return self.swap.lag * self.period_s
