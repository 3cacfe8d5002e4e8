"""The options of an experiment and of a twin on the command line."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import click
from thermograd.store.console import (
    CommandAfterDashes,
    FiniteRange,
    command_after_dashes,
    decorated,
    json_option,
)
from thermograd.store.experiment.schedules import ARMS

_COUNT = click.IntRange(1, 2**31 - 1)
_BEGINS = "the first begins with step 21, or --start-step."
_SECONDS = FiniteRange(0, min_open=True)
_SHARE = FiniteRange(0, 1, min_open=True)
_POWER, _TWIN_BLOCK_S = 0.9, 10.0
# (option, name as in Python and the environment, type, help)
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    ("--seed", "seed", click.IntRange(0, 2**31 - 1), "Of the schedule; drawn where not given."),
    ("--block", "block_s", _SECONDS, "Length of a block, s (duty, burner, cap); default 60."),
    ("--block-steps", "block_steps", _COUNT, f"The same in steps; {_BEGINS}"),
    ("--bin", "bin_s", _SECONDS, "Length of a bin, s (shadow, lr); default 1."),
    ("--bin-steps", "bin_steps", _COUNT, f"The same in steps; {_BEGINS}"),
    ("--stratum-bins", "stratum_bins", click.IntRange(3), "Bins with one pulse in them; default 20."),
    ("--lag-bins", "lag_bins", _COUNT, "Bins that an answer may last; default 10."),
    ("--start-step", "start_step", _COUNT, "First step of the schedule, where steps are given."),
    ("--duty", "duty", FiniteRange(0.05, 0.95), "Busy share of a cool block; default 0.6."),
    ("--shapes", "shapes", str, "Batches of shadow steps; default zeros,noise."),
    ("--repeats", "repeats", click.IntRange(1, 1000), "Passes of a shadow step; default 1."),
    ("--power-w", "power_w", _SECONDS, "Power limit of cool blocks, W (cap)."),
    (
        "--load",
        "load",
        _SHARE,
        "Share of the cores that the burner loads, of a GPU of the time; default 0.5.",
    ),
    ("--factor", "factor", FiniteRange(0), "Of the learning rate in a pulse (lr)."),
    ("--effect", "effect_sd", _SECONDS, "Planned effect, standard deviations; default 0.3."),
)


class PlanQuestion(NamedTuple):
    """What a plan is to answer: for an effect and a power how long, for minutes how small an effect."""

    effect_sd: float | None
    power: float
    minutes: float | None
    arm: str
    options: dict[str, Any]  # that were given, of those that a plan depends on

    def asked(self) -> dict[str, Any]:
        """Return them as `plan_for_run` takes them."""
        return {name: value for name, value in self._asdict().items() if name != "options"} | self.options

    def arguments(self) -> list[str]:
        """Return them as the words of a command line."""
        given = {name.replace("_", "-"): value for name, value in self.asked().items() if value is not None}
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]


class ExperimentAsked(NamedTuple):
    """What the command line asks of ``thermograd experiment``: of a command, or of an earlier run."""

    command: tuple[str, ...]
    planned_run: str | None
    asked: dict[str, Any]  # options of the experiment that were given
    plan: bool
    question: PlanQuestion
    name: str | None
    as_json: bool


class ExperimentCommand(CommandAfterDashes):
    """Takes a COMMAND, or one RUN where --plan is given without ``--``."""

    plain = frozenset({"--plan"})


_PLAN = (
    click.option("--plan", is_flag=True, help="Say, of a probe or of RUN, how long it has to be."),
    click.option("--minutes", type=_SECONDS, help="Of the plan: length of the training."),
    click.option(
        "--power",
        type=FiniteRange(0.05, 0.999),
        help="Of the plan: chance of finding the effect; default 0.9.",
    ),
    click.option("--name", help="What you call the run; default what the script calls it, or its file."),
    json_option,
    click.argument("words", nargs=-1, metavar="[RUN | -- COMMAND ...]"),
)
_ARM = (
    click.option(
        "--arm", type=click.Choice(ARMS), default="duty", show_default=True, help="What is done to the run."
    ),
    *(click.option(option, name, type=kind, help=text) for option, name, kind, text in _OPTIONS),
    click.option(
        "--wall-clock-schedule",
        is_flag=True,
        default=None,
        help="Something in the training goes by the clock on the wall: refuse what delays it.",
    ),
)
_OF_A_PLAN = ("duty", "block_s", "bin_s", "stratum_bins", "lag_bins", "shapes")
_NAMES = ("arm", *(name for _, name, _, _ in _OPTIONS), "wall_clock_schedule")


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options and arguments of an experiment; the command gets them as `given`."""

    @functools.wraps(command)
    def packed(
        *args: Any,
        words: tuple[str, ...],
        plan: bool,
        power: float | None,
        minutes: float | None,
        name: str | None,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        asked = {option: value for option in _NAMES if (value := rest.pop(option)) is not None}
        after = command_after_dashes()
        is_of_run = after is None and plan
        _refuse_experiment(words, after, is_of_run, as_json)
        of_plan = {"--power": power, "--minutes": minutes}
        if not plan and (without := [option for option, value in of_plan.items() if value is not None]):
            raise click.UsageError(f"{' and '.join(without)}: only with --plan.")
        _refuse_of_others(asked)
        given = ExperimentAsked(
            command=() if is_of_run else after or words,
            planned_run=words[0] if is_of_run else None,
            asked=asked,
            plan=plan,
            question=PlanQuestion(
                asked.get("effect_sd"),
                _POWER if power is None else power,
                minutes,
                asked["arm"],
                {name: asked[name] for name in _OF_A_PLAN if name in asked},
            ),
            name=name,
            as_json=as_json,
        )
        return command(*args, given=given, **rest)

    return decorated(packed, (*_ARM, *_PLAN))


def _refuse_experiment(
    words: tuple[str, ...], after: tuple[str, ...] | None, is_of_run: bool, as_json: bool
) -> None:
    if is_of_run:
        if len(words) != 1:
            raise click.UsageError("--plan is of one RUN, or of a COMMAND after --.")
        return
    if after is not None and words:
        raise click.UsageError(f"{words[0]!r} stands before --; nothing but options does.")
    if not (after or words):
        raise click.UsageError("Give a COMMAND: thermograd experiment -- python train.py; or --plan RUN.")
    if as_json:
        raise click.UsageError("--json is of --plan RUN; thermograd analyze --json tells of an experiment.")


def _refuse_of_others(asked: dict[str, Any]) -> None:
    """Refuse options that the arm does not take."""
    from thermograd.ingest.experiment.settings import options_of

    takes = options_of(asked["arm"])
    options = {name: option for option, name, _, _ in _OPTIONS}
    if others := [options[name] for name in asked if name in options and name not in takes]:
        own = ", ".join(option for name, option in options.items() if name in takes)
        raise click.UsageError(f"--arm {asked['arm']} takes no {', '.join(others)}; allowed: {own}.")


# -- twins -------------------------------------------------------------------------------------------

HEATS = ("burner", "duty", "none")


class TwinAsked(NamedTuple):
    """What the command line asks of ``thermograd twin``: of a command, or of two runs."""

    command: tuple[str, ...]
    runs: tuple[str, ...]
    heat: str
    asked: dict[str, Any]  # options of the arm that were given
    seed: int | None
    name: str | None


class TwinCommand(CommandAfterDashes):
    """Takes a COMMAND after ``--``, or two runs."""

    plain = None


_TWIN = (
    click.option(
        "--heat",
        type=click.Choice(HEATS),
        default="burner",
        show_default=True,
        help="Of the second run: a load beside it, idle gaps, or nothing (a control).",
    ),
    click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed torch, numpy and random with it."),
    click.option("--block", type=_SECONDS, help=f"Length of a block, s; default {_TWIN_BLOCK_S:g}."),
    click.option("--block-steps", type=_COUNT, help="The same in steps; the first begins with step 21."),
    click.option(
        "--load", type=_SHARE, help="Share of the cores that is loaded, of a GPU of the time; default 0.5."
    ),
    click.option("--duty", type=FiniteRange(0.05, 0.95), help="Busy share of a cool block."),
    click.option("--name", help="What you call the runs; -twin-1 and -twin-2 are added."),
    click.argument("words", nargs=-1, metavar="[RUN RUN | -- COMMAND ...]"),
)


def twin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options and arguments of a twin; the command gets them as `given`."""

    @functools.wraps(command)
    def packed(
        *args: Any,
        words: tuple[str, ...],
        heat: str,
        seed: int | None,
        name: str | None,
        block: float | None,
        block_steps: int | None,
        load: float | None,
        duty: float | None,
        **rest: Any,
    ) -> Any:
        after = command_after_dashes()
        if after is None and len(words) != 2:
            raise click.UsageError("Give two runs, or a COMMAND after --: thermograd twin -- python train.py")
        if after is not None and (words or not after):
            raise click.UsageError("A COMMAND stands after --, and nothing but options before it.")
        arm = {"block_s": block, "block_steps": block_steps, "load": load, "duty": duty}
        asked = {option: value for option, value in arm.items() if value is not None}
        _refuse_twin(heat, asked, not after)
        if heat != "none" and block_steps is None:
            asked.setdefault("block_s", _TWIN_BLOCK_S)
        return command(*args, given=TwinAsked(after or (), words, heat, asked, seed, name), **rest)

    return decorated(packed, _TWIN)


def _refuse_twin(heat: str, asked: dict[str, Any], is_of_runs: bool) -> None:
    """Refuse options that would be ignored."""
    named = {"block_s": "--block", "block_steps": "--block-steps", "load": "--load", "duty": "--duty"}
    context = click.get_current_context()
    given = [name for name in ("heat", "seed", "name") if _is_given(context, name)]
    if is_of_runs and (asked or given):
        options = ", ".join([*(f"--{name}" for name in given), *(named[name] for name in asked)])
        raise click.UsageError(f"{options}: only with a COMMAND; two runs are compared as they are.")
    others = {"none": set(named), "burner": {"duty"}, "duty": {"load"}}[heat]
    if wrong := [named[name] for name in asked if name in others]:
        raise click.UsageError(f"--heat {heat} takes no {', '.join(wrong)}.")
    if {"block_s", "block_steps"} <= asked.keys():
        raise click.UsageError("--block and --block-steps: one of them.")


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
