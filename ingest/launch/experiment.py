"""``thermograd experiment``: an unmodified training command with randomised interventions inside.

The training's own process draws and applies the schedule (`thermograd.ingest.experiment`); the launcher says
what will be done, has a plan made beside the training where one is asked for, and asks for the verdict.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.footprint import FRUGAL
from thermograd.ingest.experiment.arms.learning_rate import FACTOR, SAID, changes_text
from thermograd.ingest.experiment.arms.registry import make_arm
from thermograd.ingest.experiment.probe import PROBE_S
from thermograd.ingest.experiment.settings import BIN_S, BLOCK_S, VARIABLE, ExperimentOptions
from thermograd.ingest.launch.card import hidden_command, told_by
from thermograd.ingest.launch.command_end import runs_told
from thermograd.ingest.launch.launcher import Beside, is_there, launch, tell_not_found
from thermograd.ingest.launch.options import PlanQuestion
from thermograd.store.errors import ConfigError
from thermograd.store.experiment.draws import new_seed
from thermograd.store.experiment.schedules import PULSE_ARMS
from thermograd.store.failures import Guard
from thermograd.store.runs.ends import BY_SIGNAL

_VERDICT_S = 120.0
_PLAN_S = 15.0  # that a plan is waited for, once the command has ended
_LOOK_S = 0.5
_harmless = Guard("thermograd experiment could not tell the verdict: %(error)s")


def launch_experiment(
    runs: Path,
    name: str | None,
    hz: float,
    command: Sequence[str],
    say: Callable[[str], None],
    asked: Mapping[str, Any],
    plan: PlanQuestion | None = None,
    settings: Mapping[str, str] | None = None,
) -> int:
    """Run a command with an experiment inside it; return its exit code as `launch` does.

    `asked` are options of `ExperimentOptions`, a seed is drawn where none is given; with `plan` the training
    begins with a probe, and the plan of it is made by another process.

    Raises
    ------
    ConfigError
        If an option is not allowed.
    """
    options = experiment_asked_for(asked, plan is not None)
    if not is_there(command):
        return tell_not_found(command, say)
    for line in announcement(options):
        say(line)
    return launch(runs, name, hz, command, say, settings, beside=_Experiment(options, say, plan))


def experiment_asked_for(asked: Mapping[str, Any], plan: bool = False) -> ExperimentOptions:
    """Return checked options, with a seed and, where it is asked for, a plan; ConfigError in one sentence."""
    try:
        given = dict(asked) | ({"plan": True} if plan else {})
        options = ExperimentOptions.parse({"seed": new_seed()} | given)
        make_arm(options)  # refuse before anything begins what the training would refuse
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return options


class _Experiment(Beside):
    """What goes with the command: its options, the plan, the verdict."""

    def __init__(
        self, options: ExperimentOptions, say: Callable[[str], None], plan: PlanQuestion | None
    ) -> None:
        self.environment = environment_of(options)
        self._say = say
        self._plan = None if plan is None else _PlanBeside(plan)

    def begun(self, hello: Path) -> None:
        if self._plan is not None:
            self._plan.start(hello)

    def ended(self, runs: Sequence[Path], exit_code: int) -> None:
        if self._plan is not None:
            self._plan.end()
        if exit_code >= BY_SIGNAL:  # nobody waits for an analysis
            for run_dir in runs:
                self._say(f"experiment: thermograd analyze {run_dir.name} tells what it shows")
            return
        tell_verdicts(runs, self._say)


def environment_of(options: ExperimentOptions) -> dict[str, str]:
    """Return the variable that brings an experiment to the training's processes."""
    return {VARIABLE: json.dumps(options.to_json()), SAID: "1"}


@_harmless
def tell_verdicts(runs: Sequence[Path], say: Callable[[str], None]) -> None:
    """Say what the experiment of each run shows; Ctrl-C ends the waiting."""
    for run_dir in runs:
        lines = told_by(["experiment-verdict", str(run_dir)], _VERDICT_S)
        for line in lines or [f"experiment: thermograd analyze {run_dir.name} tells what it shows"]:
            say(line)


# -- what will be done -------------------------------------------------------------------------------

_WHAT = {
    "duty": "the training idles after each step of a cool block, busy for {duty:.0%} of it",
    "burner": "a load runs beside the training in hot blocks",
    "cap": "the power limit is lowered in cool blocks",
    "shadow": "an extra forward and backward pass on a shaped batch ({shapes}) comes after a step",
    "lr": "the learning rate is changed for one step",
}
_CHANGED = {
    "duty": "The arithmetic is not changed: the same batches and the same updates, only later.",
    "burner": "The arithmetic is not changed; the load competes for the device, so that steps take longer.",
    "cap": "The arithmetic is not changed, only how fast it is done; the limit is put back at the end.",
    "shadow": "The arithmetic is not changed: gradients of the extra passes are thrown away.",
}


def announcement(options: ExperimentOptions) -> list[str]:
    """Return lines: what is done and by which seed, what that changes in the training, what comes first."""
    values = options.to_json()
    what = _WHAT[options.arm].format(**values)
    when = _bins(options) if options.arm in PULSE_ARMS else _blocks(options)
    first = f"experiment: arm {options.arm}, {what}; {when}, drawn by seed {options.seed}"
    changed = _CHANGED.get(options.arm) or changes_text(FACTOR if options.factor is None else options.factor)
    return [first, changed, *([_probe(options)] if options.plan else [])]


def _probe(options: ExperimentOptions) -> str:
    """Return what comes before a planned schedule, and how long it takes."""
    if options.arm in PULSE_ARMS:
        return f"first a probe of {2 * PROBE_S:g} s, in which nothing is done, and the plan of it"
    cool_s = PROBE_S / options.duty if options.arm == "duty" else PROBE_S
    return f"first a probe, hot for {PROBE_S:g} s and cool for {cool_s:g} s, and the plan of it"


def _blocks(options: ExperimentOptions) -> str:
    length = _length(options, options.block_steps, options.block_s, BLOCK_S)
    return f"pairs of a hot and a cool block of {length}"


def _bins(options: ExperimentOptions) -> str:
    length = _length(options, options.bin_steps, options.bin_s, BIN_S)
    return f"one in every {options.stratum_bins} bins of {length}"


def _length(options: ExperimentOptions, steps: int | None, seconds: float | None, usual_s: float) -> str:
    if steps:
        return f"{steps} steps"
    by_plan = " (or what the plan says)" * (options.plan and seconds is None)
    return f"{seconds or usual_s:g} s{by_plan}"


# -- the plan, beside the training -------------------------------------------------------------------


class _PlanBeside:
    """Starts a process that waits for the probe of the run, and ends it with the command."""

    def __init__(self, question: PlanQuestion) -> None:
        self._question = question
        self._over = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self, hello: Path) -> None:
        """Look for the run from here on."""
        self._thread = threading.Thread(target=self._watch, args=(hello,), daemon=True)
        self._thread.start()

    def _watch(self, hello: Path) -> None:
        while not self._over.wait(_LOOK_S):
            with suppress(OSError):  # the directory goes with the command
                if runs := runs_told(hello):
                    self._child = subprocess.Popen(
                        hidden_command(["experiment-plan", str(runs[-1]), *self._question.arguments()]),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C is for the training
                        env=os.environ | FRUGAL,
                    )
                    return

    def end(self) -> None:
        """Give the process, which has seen that the run has ended, a while to say so."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._child is not None:
            try:
                self._child.wait(_PLAN_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._child.kill()
                self._child.wait()
