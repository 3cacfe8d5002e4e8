"""Sentences and names that the page, the Markdown and the terminal share."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from thermograd.analysis.display.numbers import shown_number
from thermograd.analysis.run.pair import Pair, pair_sentence
from thermograd.analysis.run.readings.data_quality import lost_loss, recorded_losses
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries
from thermograd.store.runs.steps import on_ranks
from thermograd.store.telling.quantities import counted, duration_text

if TYPE_CHECKING:
    from thermograd.analysis.comparison.compared_runs import PairAcross


def steps_text(data: RunSeries) -> str:
    """Return how many steps were recorded in what time; empty for none."""
    count = data.step_time_ns.size
    if count < 2:
        return f"{counted(count, 'step')}{on_ranks(data.ranks)}" if count else ""
    return f"{counted(count, 'step')}{on_ranks(data.ranks)} in {duration_text(data.training_s)}"


def loss_text(data: RunSeries) -> str:
    """Return the first and the last loss that was recorded; empty for fewer than two.

    Where the last is no finite number, also since when.
    """
    loss, _ = recorded_losses(data)
    if lost := lost_loss(data):
        first = (*loss[np.isfinite(loss)], loss[0])[0]
        ends = [f"{value:.4g}".replace("nan", "NaN") for value in (first, loss[-1])]
        return f"{' to '.join(ends)}: {lost}"
    known = loss[loss == loss]  # not NaN; infinite is what happened
    return f"{known[0]:.4g} to {known[-1]:.4g}" if known.size > 1 else ""


def device_name(analysis: Analysis, name: str) -> str:
    """Return the label of a device that was analysed."""
    return analysis.called(name)


def reasons(pairs: Sequence[Pair], name: Callable[[Pair], str]) -> list[str]:
    """Return each verdict's reason once, however many pairs share it, behind the name of the first."""
    shared: dict[str, list[str]] = {}
    for pair in pairs:
        names = shared.setdefault(pair_sentence(pair), [])
        if name(pair) not in names:
            names.append(name(pair))
    return [
        f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {reason}"
        for reason, names in shared.items()
    ]


def control_sentence(best: "PairAcross") -> str:
    """Return what the naive method finds with the hardware of other runs; empty where it is not known."""
    if not math.isfinite(best.naive_others):
        return ""
    own, others = (shown_number(r, "+.2f") for r in (best.naive_own, best.naive_others))
    return (
        f"Control: the naive r is {own} with a run's own hardware (median) and {others} with the hardware of "
        "the other runs, which cannot be coupled to it."
    )
