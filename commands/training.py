"""The commands that record a training, or the devices alone: run experiment twin record."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from thermograd.commands.agent import stream_layer
from thermograd.ingest.launch.options import (
    ExperimentAsked,
    ExperimentCommand,
    TwinAsked,
    TwinCommand,
    experiment_options,
    twin_options,
)
from thermograd.ingest.otlp.options import received_options
from thermograd.store.console import FiniteRange, answer, echo, find, hz_option, json_option, say
from thermograd.store.telling.quantities import counted
from thermograd.stream.commands import LayerOptions, layer_options


@click.command(
    name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--name", help="What you call the run; default what the script calls it, or its file.")
@click.option("--card/--no-card", default=True, help="End with five lines: verdict, spikes, energy ...")
@hz_option
@layer_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run_command(
    runs: Path, name: str | None, hz: float, layer: LayerOptions, card: bool, command: tuple[str, ...]
) -> None:
    """Run an unmodified training command, recorded; also torchrun and accelerate launch.

    The exit code is the command's own; 128 + n if signal n ended it, 127 if there is no such command.

    Example: thermograd run --name baseline -- python train.py --epochs 3
    """
    from thermograd.ingest.launch.launcher import launch

    sys.exit(launch(runs, name, hz, command, say, layer.environment(), card))


@click.command(cls=ExperimentCommand)
@experiment_options
@hz_option
@layer_options
@click.pass_obj
def experiment(runs: Path, /, given: ExperimentAsked, hz: float, layer: LayerOptions) -> None:
    """Run a training with interventions drawn by chance: does heat reach it, or it the hardware.

    The command is unmodified and recorded as by `thermograd run`; the schedule is logged before it is
    applied. Arms: duty (idle gaps), burner, cap (heat to training); shadow, lr (training to hardware).

    With --plan and a RUN: how long an experiment in such a training has to be, and how small an effect it
    can show. With --plan and a COMMAND: of a probe at its beginning, and then the experiment.

    \b
    Example: thermograd experiment --arm duty --block 60 -- python train.py
             thermograd experiment --plan latest --effect 0.3
    """  # noqa: D301 - click wants the character, not its name
    if given.planned_run is not None:
        from thermograd.analysis.experiment_commands import tell_plan

        tell_plan(find(given.planned_run), given.question.asked(), given.as_json)
        return
    from thermograd.ingest.launch.experiment import launch_experiment

    plan = given.question if given.plan else None
    where = (runs, given.name, hz, given.command, say)
    sys.exit(launch_experiment(*where, given.asked, plan, layer.environment()))


@click.command(cls=TwinCommand)
@twin_options
@hz_option
@layer_options
@json_option
@click.pass_obj
def twin(runs: Path, /, given: TwinAsked, hz: float, layer: LayerOptions, as_json: bool) -> None:
    """Run one training twice with the same seed, without and with heat; say which step differs first.

    Losses and gradient norms must be equal to the last bit where the code is deterministic. With RUN RUN:
    compare two runs. Another version, configuration, seed or model is another training: that is said first.

    \b
    Example: thermograd twin --seed 1 -- python train.py
             thermograd twin baseline-1 baseline-2
    """  # noqa: D301 - click wants the character, not its name
    from thermograd.analysis.comparison.twin import compare_twins
    from thermograd.analysis.report.text.twin import describe_twin

    if given.runs:
        answer(compare_twins(*map(find, given.runs)), as_json, describe_twin)
        return
    if as_json:
        raise click.UsageError("--json is of RUN RUN: a COMMAND prints on stdout itself.")
    from thermograd.ingest.launch.twins import launch_twins
    from thermograd.store.runs.catalogue import Run

    twins = launch_twins(runs, given, hz, say, layer.environment())
    for first, second in twins.pairs:
        echo(describe_twin(compare_twins(Run(first), Run(second))))
    sys.exit(twins.exit_code)


@click.command()
@click.option("--duration", "duration_s", type=FiniteRange(0.1), help="Seconds; default until Ctrl-C.")
@hz_option
@click.option("--name", default="record", show_default=True, help="What you call the run.")
@received_options
@layer_options
@click.pass_obj
def record(
    runs: Path, duration_s: float | None, hz: float, name: str, received: dict[str, Any], layer: LayerOptions
) -> None:
    """Sample this machine's devices, without a training run; or receive what others measure, by OTLP.

    Example: thermograd record --duration 60 --hz 2
    """
    if received:
        _receive(runs, received, layer, duration_s, hz)
        return
    from thermograd.ingest.agent.footprint import frugal
    from thermograd.store.shipping.writing import written_to

    with frugal(), written_to(runs, say) as folder:  # this process is the agent
        from thermograd.ingest.agent.agent import run_agent
        from thermograd.ingest.agent.silence import SilenceLimits
        from thermograd.ingest.job.facts import run_facts
        from thermograd.store.runs.catalogue import create_run
        from thermograd.stream.pipeline.config import load_config

        load_config(layer.config)  # refuse a wrong one before anything is recorded
        layer.environment()
        run = create_run(folder.absolute(), name, run_facts() | {"sampling_hz": hz})
        echo(f"Recording {run.run_id}; Ctrl-C ends it.", err=True)
        limits = SilenceLimits()
        watched = stream_layer(run.path, layer, limits)
        samples = run_agent(run.path, hz, 0, None, watched, duration_s, layer.config, limits)
    echo(f"{run.run_id}: {counted(samples, 'sample')}")


def _receive(
    runs: Path, doors: dict[str, Any], layer: LayerOptions, duration_s: float | None, hz: float
) -> None:
    from thermograd.ingest.agent.footprint import frugal
    from thermograd.store.shipping.writing import written_to

    with frugal(), written_to(runs, say) as folder:
        from thermograd.ingest.otlp.listening import Doors, receive
        from thermograd.stream.pipeline.config import load_config

        load_config(layer.config)  # refuse a wrong one before anything is recorded
        layer.environment()
        of_run = partial(stream_layer, options=layer)
        counts = receive(folder.absolute(), Doors(**doors), of_run, say, duration_s, hz)
    told = ", ".join(f"{counts.get(name, 0):,} {name}" for name in ("written", "repeated", "rejected"))
    beside = [
        (counts.get("late", 0), "after their step was written"),
        (counts.get("second", 0), "another value"),
    ]
    told += "".join(f"; {count:,} {how}, kept in a row of their own" for count, how in beside if count)
    echo(f"{counted(counts.get('exports', 0), 'export')}: readings {told}")
