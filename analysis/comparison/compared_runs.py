"""What a comparison is made of: one run among those compared, and one pair of signals over all of them."""

import math
from dataclasses import dataclass
from typing import Any

from thermograd.analysis.coupling.session_swaps import SessionSwap, SwapFamily
from thermograd.analysis.run.pair import Pair


@dataclass(eq=False)
class ComparedRun:
    """One run among those compared."""

    # run_id, name, state, truth: from the run; `truth` of a simulated one
    run_id: str
    name: str
    state: str
    verdict: str  # of the whole run, as `analyze` gives it
    seed: Any
    minutes: float
    devices: dict[str, str]  # devices that took part, by role
    truth: dict[str, Any] | None
    # what the run alone would show nine times out of ten; None where it is too short
    smallest_detectable_r: float | None
    # run id of the run whose training this one repeats, and how they are alike; None otherwise
    repeats: tuple[str, str] | None
    # the pair of signals that is compared, as `analyze` judged it in this run; None where it is not there
    pair: Pair | None


@dataclass(eq=False)
class PairAcross:
    """One pair of signals, in one direction, over all runs."""

    # x, y, role, family: signals, role of the device, and direction: "forward" (training leads, or both at
    # the same time) or "reverse"
    x: str
    y: str
    role: str
    family: SwapFamily
    period_s: float  # length of a bin
    swap: SessionSwap  # the session swap and the pooled effect; its lags are in bins
    run_ids: list[str]  # runs that entered, in the order of the swap's arrays; empty where fewer than 2 could
    # naive_own, naive_others: median naive r of the norm with its own run's hardware, and with the other
    # runs' hardware, which cannot be coupled to it; NaN where unknown
    naive_own: float
    naive_others: float
    # after Holm's correction: over the two directions for the chosen pair, over all pairs for others
    p_adjusted: float = math.nan

    @property
    def lag_s(self) -> float:
        """Lag of the common peak, s; above 0: training leads."""
        return self.swap.lag * self.period_s
