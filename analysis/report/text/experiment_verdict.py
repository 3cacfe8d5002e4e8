"""What a run's experiments show, in the lines that end ``thermograd experiment``."""

from thermograd.analysis.run.experiment.experiments import run_experiments
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.experiment.unbegun import refused_or_ended
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable

_LONGEST_REASON = 400


def verdict_lines(run: Run) -> list[str]:
    """Return a line for each experiment of a run, or why there is none, and how to see more."""
    data = load_series(run)
    found = [f"experiment: {result.sentence}" for result in run_experiments(data)]
    lines = found or [f"no experiment: {_why_none(data)}"]
    return [*lines, f"more: thermograd report {run.run_id}"]


def _why_none(data: RunSeries) -> str:
    for _, why in refused_or_ended(data.marks):
        return printable(why, _LONGEST_REASON)
    steps = counted(int(data.step_time_ns.size), "step")
    ended = f"the training had ended before its first assignment, after {steps} in {data.training_s:.0f} s"
    return f"{ended}; blocks in steps (--block-steps) begin after 20 steps, others after 20 s at the earliest"
