"""What the charts of an experiment show, in words, for who does not see them."""

import numpy as np
from thermograd.analysis.report.alt.run import Words, words
from thermograd.analysis.report.data.experiment import Course, ShownExperiment, TestedOutcome
from thermograd.analysis.run.experiment.sentences import chance_text, size_text
from thermograd.store.telling.quantities import counted


def blocks_words(shown: ShownExperiment, simulated: str) -> Words:
    """Return which blocks or pulses were assigned, and how each signal stood in hot and cool ones."""
    kinds = [stretch.kind for stretch in shown.stretches]
    if shown.is_switchback:
        what = f"{counted(kinds.count('hot'), 'hot block')} and {counted(kinds.count('cool'), 'cool block')}"
    else:
        what = counted(len(kinds), "pulse")
    names = " and ".join(course.title for course in shown.courses)
    return words(
        "The experiment over time",
        f"{names} over time, on what was assigned: {what}.",
        *map(_course, shown.courses),
        before=simulated,
    )


def _course(course: Course) -> str:
    parts = []
    for kind in ("hot", "cool"):
        values = [each.value for each in course.middles if each.stretch.kind == kind]
        if values:
            parts.append(f"{kind} {np.mean(values):.4g} {course.unit}".strip())
    return f"{course.title}, mean of the blocks' medians: {', '.join(parts)}." if parts else ""


def found_words(shown: ShownExperiment, simulated: str) -> Words:
    """Return the effect on each outcome, and where this run stands among redrawn schedules."""
    return words(
        "Effects, and what chance gives",
        "The response over lag with its simultaneous band, and the statistic of redrawn schedules.",
        *map(_outcome, shown.tested),
        before=simulated,
    )


def _outcome(each: TestedOutcome) -> str:
    effect = each.effect
    if effect.effect_sd is None:
        return f"{each.label}: not tested."
    beyond = ""
    if each.bars is not None:
        total = int(each.bars.count.sum())
        beyond = f"; this run's statistic {each.bars.observed:.3g} among {total:,} redrawn"
    return f"{each.label}: {size_text(effect)} ({chance_text(effect)}){beyond}."
