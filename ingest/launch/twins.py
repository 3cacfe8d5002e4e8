"""``thermograd twin``: one command twice with the same seed, first without heat, then with it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.experiment.settings import VARIABLE
from thermograd.ingest.launch.experiment import environment_of, experiment_asked_for
from thermograd.ingest.launch.launcher import Beside, is_there, launch, name_of, tell_not_found
from thermograd.ingest.launch.options import TwinAsked
from thermograd.ingest.launch.seeding import SEED, seed_environment
from thermograd.store.runs.ends import BY_SIGNAL


class Twins(NamedTuple):
    """Pairs of runs that are to be compared, in the order of their trainings, and our exit code."""

    pairs: list[tuple[Path, Path]]
    exit_code: int


def launch_twins(
    runs: Path,
    given: TwinAsked,
    hz: float,
    say: Callable[[str], None],
    settings: Mapping[str, str] | None = None,
) -> Twins:
    """Run a command twice, the second time heated by an experiment's arm; where one has no run, say so.

    A seed that is given is set inside the script as well; without it the script's own seeds are all that
    counts.
    """
    heat, seed = given.heat, given.seed
    options = None if heat == "none" else experiment_asked_for({"arm": heat, **given.asked})
    if not is_there(given.command):
        return Twins([], tell_not_found(given.command, say))
    environment = {VARIABLE: "0", **seed_environment(seed)}  # no heat that the shell asks for
    set_in = "torch, numpy and random are seeded with it" if seed is not None else "the script seeds itself"
    say(f"twin: run 1 of 2, without heat; {SEED} is {environment[SEED]} in both runs, {set_in}")
    name = given.name or name_of(given.command)
    first = _One(environment, {"twin": {"run": 1, "heat": None, "seed": seed}})
    code = launch(runs, f"{name}-twin-1", hz, given.command, say, settings, beside=first)
    if code or not first.runs:
        return _no_twin(code, "first", say)
    with_heat = {} if options is None else environment_of(options)
    how = "without heat, too" if options is None else f"with heat by {heat}, drawn by seed {options.seed}"
    say(f"twin: run 2 of 2, {how}")
    second = _One(environment | with_heat, {"twin": {"run": 2, "heat": heat, "seed": seed}})
    code = launch(runs, f"{name}-twin-2", hz, given.command, say, settings, beside=second)
    if code >= BY_SIGNAL or not second.runs:
        return _no_twin(code, "second", say)
    if code:
        say(f"the second run's command ended with exit code {code}, the first one's with 0")
    pairs = list(zip(first.runs, second.runs, strict=False))
    if len(first.runs) != len(second.runs):
        counts = f"{len(first.runs)} and {len(second.runs)}"
        say(f"the command left {counts} runs: the first {len(pairs)} of each are compared")
    return Twins(pairs, 1 if code else 0)


def _no_twin(exit_code: int, which: str, say: Callable[[str], None]) -> Twins:
    why = f"ended with exit code {exit_code}" if exit_code else "recorded no run"
    say(f"no twin: the {which} run's command {why}")
    return Twins([], exit_code if exit_code >= BY_SIGNAL else 1)


class _One(Beside):
    """One of the two: remembers its runs."""

    def __init__(self, environment: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        self.environment, self.facts = environment, facts
        self.runs: list[Path] = []

    def ended(self, runs: Sequence[Path], exit_code: int) -> None:
        self.runs = list(runs)
