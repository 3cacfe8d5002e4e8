"""The experiments of a run, and what they make of its other verdicts; light for a run that holds none."""

from thermograd.analysis.experiment.result import ExperimentResult
from thermograd.analysis.run.series import RunSeries
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.experiment.unbegun import refused_or_ended
from thermograd.store.telling.quantities import few_of
from thermograd.store.text import printable


def run_experiments(data: RunSeries) -> list[ExperimentResult]:
    """Return what each experiment of a run shows, in the order in which they began; empty for none."""
    recorded = read_experiments(data.marks)
    if not recorded:
        return []  # as of most runs; what judges them takes half a second to import
    from thermograd.analysis.run.experiment.experiment import result_of
    from thermograd.analysis.run.experiment.exposure import exposures

    return [result_of(each) for each in exposures(data, recorded)]


def unbegun_warnings(data: RunSeries) -> list[str]:
    """Return that an experiment of a run did not begin, or was given up on the way, and why."""
    return [
        f"An experiment of this run {became}: {printable(why, 300).rstrip('.')}."
        for became, why in refused_or_ended(data.marks)
    ]


def experiment_warnings(results: list[ExperimentResult]) -> list[str]:
    """Return what an experiment makes of the run's other verdicts."""
    if not results:
        return []
    arms = few_of(list(dict.fromkeys(result.arm for result in results)))
    return [
        f"The run holds a randomised experiment ({arms}): what it does moves the hardware and the time "
        "between steps, so verdicts by observation (pairs, speed coupling, events, heat's cost) include the "
        "intervention."
    ]
