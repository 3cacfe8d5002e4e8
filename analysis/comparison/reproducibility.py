"""How alike several trainings are: which are one and the same, and how far the others spread."""

import functools
import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.run.series import RunSeries

_SAME_ABOVE = 0.95  # correlation of step-to-step changes; different data orders give about 0
_FEWEST_COMMON = 20
_SMOOTH_ABOVE = 0.5  # correlation of a change with the next one; of noise it is about -0.5
_SPOKEN = {"grad_norm": "norm", "loss": "loss"}
_LAST_SHARE = 0.05
FINAL_LOSS = f"final loss (mean of the last {100 * _LAST_SHARE:.0f} % of the steps)"


@dataclass(frozen=True, slots=True)
class Reproducibility:
    """How far trainings spread."""

    # by run id, mean of the last 5 % of the steps' finite losses; None where there is none
    final_loss: dict[str, float | None] = field(default_factory=dict)
    # final_mean, final_sd, final_range: over the runs that have one; sd None for fewer than 2
    final_mean: float | None = None
    final_sd: float | None = None
    final_range: float | None = None
    common_steps: int = 0  # step numbers that every run has
    # median over the common steps of the runs' standard deviation of the loss; None where unknown
    loss_sd: float | None = None
    # exp of the same for log grad_norm: a typical run is this factor from the others
    norm_factor: float | None = None
    seeds: dict[str, Any] = field(default_factory=dict)  # by run id, the recorded seed or None


def recorded_seed(data: RunSeries) -> Any:
    """Return the seed that the run's facts or its configuration name, or None."""
    found = [data.run.facts.get("seed"), data.config.get("seed")]
    return next((seed for seed in found if isinstance(seed, int | str)), None)


def repeated_trainings(runs: Sequence[RunSeries]) -> dict[int, tuple[int, str]]:
    """Find runs whose step series is an earlier run's: the same seed, a copy, the same log imported twice.

    By place of the run: place of the first run of that training, and in words how they are alike.
    """
    found: dict[int, tuple[int, str]] = {}
    digests = [_digest(data) for data in runs]
    for first, later in itertools.combinations(range(len(runs)), 2):
        if first in found or later in found:
            continue
        if digests[later] is not None and digests[later] == digests[first]:
            found[later] = (first, "to the last bit")
        else:
            name, alike = _likeness(runs[first], runs[later])
            if alike > _SAME_ABOVE:
                told = f"step for step (changes of the {_SPOKEN[name]} correlate at {alike:.3f})"
                found[later] = (first, told)
    return found


def _digest(data: RunSeries) -> bytes | None:
    """Return a hash of what the steps measured; None where they measured nothing."""
    columns = [data.training(name) for name in ("loss", "grad_norm")]
    if not any(np.isfinite(column).any() for column in columns):
        return None
    return hashlib.sha256(b"".join(np.nan_to_num(c, nan=-1.0).tobytes() for c in columns)).digest()


def _likeness(first: RunSeries, second: RunSeries) -> tuple[str, float]:
    """Correlate the changes of log grad_norm (else of the loss) from step to step; name which.

    Any two smooth curves fall alike: of changes that follow each other nothing is concluded.
    """
    for name in ("grad_norm", "loss"):
        _, pair = by_common_step([first, second], name)
        if pair.shape[1] > _FEWEST_COMMON:
            changes = np.diff(pair, axis=1)
            changes = changes[:, np.isfinite(changes).all(axis=0)]
            if changes.shape[1] >= _FEWEST_COMMON and np.ptp(changes, axis=1).all():
                ranks = [_ranks(row) for row in changes]
                if max(naive_pearson(row[:-1], row[1:]) for row in ranks) <= _SMOOTH_ABOVE:
                    return name, naive_pearson(*ranks)
    return "", math.nan


def _ranks(values: Floats) -> Floats:
    """Return the ranks of values, of equal ones their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def by_common_step(runs: Sequence[RunSeries], name: str) -> tuple[Floats, Floats]:
    """Return the step numbers that every run has, shape (n,), and a signal there, shape (k, n).

    The norm is taken as its logarithm.
    """
    series = []
    for data in runs:
        numbers = data.training("step")
        known = np.isfinite(numbers)
        unique, place = np.unique(numbers[known], return_index=True)
        series.append((unique, data.tested(name)[known][place]))
    common = functools.reduce(np.intersect1d, [numbers for numbers, _ in series])
    return common, np.array([values[np.searchsorted(numbers, common)] for numbers, values in series])


def reproducibility(runs: Sequence[RunSeries]) -> Reproducibility:
    """Return how far the trainings spread: at their ends, and at the steps that all of them have."""
    final = {data.run.run_id: final_loss(data) for data in runs}
    known = np.array([value for value in final.values() if value is not None])
    _, loss = by_common_step(runs, "loss")
    norm_sd = _typical_sd(by_common_step(runs, "grad_norm")[1])
    return Reproducibility(
        final_loss=final,
        final_mean=float(known.mean()) if known.size else None,
        final_sd=float(known.std(ddof=1)) if known.size > 1 else None,
        final_range=float(np.ptp(known)) if known.size > 1 else None,
        common_steps=loss.shape[1],
        loss_sd=_typical_sd(loss),
        norm_factor=None if norm_sd is None else math.exp(norm_sd),
        seeds={data.run.run_id: recorded_seed(data) for data in runs},
    )


def final_loss(data: RunSeries) -> float | None:
    """Return the mean of the finite losses in the last 5 % of the steps; None where there is none."""
    loss = data.training("loss")
    last = loss[-max(1, round(_LAST_SHARE * loss.size)) :]
    last = last[np.isfinite(last)]
    return float(last.mean()) if last.size else None


def _typical_sd(values: Floats) -> float | None:
    whole = values[:, np.isfinite(values).all(axis=0)]
    return float(np.median(whole.std(axis=0, ddof=1))) if whole.size and len(values) > 1 else None
