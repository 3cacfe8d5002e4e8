"""What commands tell of an experiment: the verdict at its end, the plan before it."""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thermograd.store.console import PATH, answer, say

if TYPE_CHECKING:
    from thermograd.analysis.experiment.plan import Plan
    from thermograd.store.runs.catalogue import Run

_NICER = 10
_LOOK_S = 2.0
_PROBE = "experiment_probe.json"


@click.command(name="experiment-verdict", hidden=True)
@click.argument("run_dir", type=PATH)
def experiment_verdict(run_dir: Path) -> None:
    """Print what a run's experiments show as JSON: lines (started when a command ends)."""
    from thermograd.analysis.report.text.experiment_verdict import verdict_lines
    from thermograd.store.runs.catalogue import Run

    click.echo(json.dumps(verdict_lines(Run(run_dir))))


@click.command(name="experiment-plan", hidden=True)
@click.argument("run_dir", type=PATH)
@click.option("--effect-sd", type=float)
@click.option("--power", type=float, default=0.9)
@click.option("--minutes", type=float)
@click.option("--arm")
@click.option("--duty", type=float)
@click.option("--block-s", type=float)
@click.option("--bin-s", type=float)
@click.option("--stratum-bins", type=int)
@click.option("--lag-bins", type=int)
@click.option("--shapes")
def experiment_plan(run_dir: Path, **question: Any) -> None:
    """Wait for a live run's probe, say the plan of it, write it into the run (started beside a command)."""
    with suppress(AttributeError, OSError):  # not on every system
        os.nice(_NICER)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    from thermograd.store.runs.catalogue import Run

    parent = os.getppid()
    while not _is_probed(run_dir) and Run(run_dir).state() == "live" and os.getppid() == parent:
        time.sleep(_LOOK_S)
    if os.getppid() != parent:
        return
    from thermograd.analysis.run.experiment.experiment import PLAN_FILE
    from thermograd.store.errors import ThermogradError
    from thermograd.store.files import write_json

    try:
        plan = _plan_of(Run(run_dir), question)
    except ThermogradError as error:
        say(f"no plan: {error}")
        return
    write_json(run_dir / PLAN_FILE, plan.to_json())
    for line in ["plan of the experiment", *plan.lines()]:
        say(line)


def _is_probed(run_dir: Path) -> bool:
    """Whether the steps of a run's probe are over, by the file in which the training says where it is."""
    from thermograd.store.files import read_json
    from thermograd.store.runs.last_values import last_values

    probe = read_json(run_dir / _PROBE)
    if not probe:
        return False
    step = last_values(run_dir, "step", "step")[1]
    return bool((step or 0) >= probe["first_step"] + 2 * probe["block_steps"] - 1)


def _plan_of(run: "Run", question: Mapping[str, Any]) -> "Plan":
    """Return the plan by a run; NotEnoughDataError where it is too short for one."""
    from thermograd.analysis.run.experiment_plan import plan_for_run

    return plan_for_run(run, **{name: value for name, value in question.items() if value is not None})


def tell_plan(run: "Run", question: Mapping[str, Any], as_json: bool) -> None:
    """Print the plan of an experiment in such a training as a run was; `question` as of `plan_for_run`."""
    answer(_plan_of(run, question), as_json, lambda plan: "\n".join(plan.lines()))
