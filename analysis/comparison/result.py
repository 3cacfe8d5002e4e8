"""What a comparison of runs gives: each run, each pair of signals over all runs, and how alike they are."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from thermograd.analysis.comparison.reproducibility import Reproducibility
from thermograd.analysis.coupling.session_swap import SessionSwap, SwapFamily
from thermograd.analysis.run.result import Pair
from thermograd.analysis.run.series import RunSeries


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


@dataclass(eq=False)
class Comparison:
    """What several runs say.

    Attributes
    ----------
    runs
        Every run that was given and could be read.
    chosen
        The pair of signals that was asked for, or else the first of the default order that at least
        two runs have, in both directions; empty where there is none.
    others
        All other pairs, exploratory.
    """

    runs: list[ComparedRun]
    chosen: list[PairAcross]
    others: list[PairAcross]
    reproducibility: Reproducibility
    warnings: list[str] = field(default_factory=list)
    series: list[RunSeries] = field(default_factory=list)

    @property
    def counted(self) -> list[ComparedRun]:
        """The runs that are trainings of their own."""
        return [run for run in self.runs if run.repeats is None]

    def _repr_html_(self) -> str:
        from thermograd.analysis.display.profile import comparison_html

        return comparison_html(self)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of ``compare --json``; what is not known is null."""
        document = {
            "runs": [_run_json(run) for run in self.runs],
            "counted": len(self.counted),
            "question": [_pair_json(pair) for pair in self.chosen],
            "others": [_pair_json(pair) for pair in self.others],
            "reproducibility": asdict(self.reproducibility),
            "warnings": self.warnings,
        }
        finite: dict[str, Any] = _plain(document)
        return finite


def _run_json(run: ComparedRun) -> dict[str, Any]:
    entry = {name: getattr(run, name) for name in ("run_id", "name", "state", "verdict", "seed", "minutes")}
    entry |= {"devices": run.devices, "truth": run.truth}
    entry["smallest_detectable_r"] = run.smallest_detectable_r
    entry["repeats"] = run.repeats[0] if run.repeats else None
    names = (
        "x",
        "y",
        "device",
        "family",
        "n",
        "r",
        "lag_s",
        "p",
        "p_adjusted",
        "half_width",
        "pearson_r",
        "over_time",
    )
    pair = run.pair
    entry["pair"] = None if pair is None else {name: getattr(pair, name) for name in (*names, "verdict")}
    return entry


def _pair_json(pair: PairAcross) -> dict[str, Any]:
    swap = pair.swap
    entry = {name: getattr(pair, name) for name in ("x", "y", "role", "family", "period_s", "lag_s")}
    entry |= {"n_runs": swap.n_runs, "p": swap.p, "p_swap": swap.p_swap, "p_sign_flip": swap.p_sign_flip}
    entry |= {"p_adjusted": pair.p_adjusted, "r": swap.r, "r_low": swap.r_low, "r_high": swap.r_high}
    entry |= {"i_squared": swap.i_squared, "reasons": swap.reasons}
    entry |= {"naive_own": pair.naive_own, "naive_others": pair.naive_others}
    each = zip(pair.run_ids, swap.run_r, swap.run_low, swap.run_high, swap.run_lag, strict=True)
    entry["runs"] = [
        {"run_id": run_id, "r": r, "low": low, "high": high, "lag_s": lag * pair.period_s}
        for run_id, r, low, high, lag in each
    ]
    return entry


def _plain(value: Any) -> Any:
    """Return values as JSON has them: no numpy, no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
