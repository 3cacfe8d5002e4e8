"""The command line: each command parses, calls one function, and echoes.

Here are the commands that tie rooms together; the others live in the `commands` of their room.
Results go to stdout, progress and messages to stderr. Exit code 0: done, 1: a clear error, 2: usage.
"""

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import click
    from thermograd.analysis import commands as analysis_commands
    from thermograd.analysis.serve import command as serve_command
    from thermograd.ingest import commands as ingest_commands
    from thermograd.ingest.launch.options import (
        ExperimentAsked,
        ExperimentCommand,
        TwinAsked,
        TwinCommand,
        experiment_options,
        twin_options,
    )
    from thermograd.ingest.otlp.options import received_options
    from thermograd.store import commands as store_commands
    from thermograd.store.console import (
        PATH,
        FiniteRange,
        Group,
        answer,
        echo,
        echo_json,
        find,
        hz_option,
        json_option,
        say,
        training_bar,
    )
    from thermograd.store.lazy_names import keep_pandas_out
    from thermograd.store.telling.quantities import counted
    from thermograd.stream import commands as stream_commands
    from thermograd.stream.commands import LayerOptions, layer_options
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    root = Path(__file__).resolve().parent
    sys.exit(
        f"Error: thermograd is not installed in this Python ({missing}); "
        f"{sys.executable} -m pip install '{root}[report]' installs it, with the command `thermograd`"
    )

if TYPE_CHECKING:
    import threading

    from thermograd.analysis.calibration.scenarios import Drawn
    from thermograd.ingest.agent.silence import SilenceLimits
    from thermograd.ingest.simulate.write import StreamLayer
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.runs.catalogue import Run


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--runs",
    envvar="THERMOGRAD_RUNS",
    default="runs",
    show_default=True,
    help="Directory of runs, or s3://, gs://, az:// of a bucket.",
)
@click.version_option(package_name="thermograd")
@click.pass_context
def main(context: click.Context, runs: str) -> None:
    """Find out whether a training run shakes its hardware, or the hardware its training run."""
    keep_pandas_out()
    context.obj = Path(runs)
    if ":" in runs or not runs.strip():
        from thermograd.store.errors import PlaceError
        from thermograd.store.places.place import fault_of, folder_of

        if fault := fault_of(runs):  # as a path it would be a folder, or another bucket
            raise PlaceError(f"--runs: {fault}")
        context.obj = folder_of(runs) or context.obj


for _room in (analysis_commands, serve_command, ingest_commands, store_commands, stream_commands):
    for _command in _room.COMMANDS:
        main.add_command(_command)


@main.command()
@click.option("--steps", default=600, show_default=True, type=click.IntRange(1), help="Optimizer steps.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of model, data, faults.")
@click.option("--train/--no-train", default=True, help="Without training: only sample the devices for 30 s.")
@click.pass_obj
def demo(runs: Path, steps: int, seed: int, train: bool) -> None:
    """Train a small language model offline and show what the instrument sees.

    Example: thermograd demo --steps 300 --seed 1
    """
    from thermograd.analysis.calibration.scenarios import draw
    from thermograd.analysis.report.run_report import write_report
    from thermograd.analysis.report.text.analysis import demo_summary
    from thermograd.analysis.report.text.card import tell_card
    from thermograd.analysis.report.text.comparison import demo_beside
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.ingest.demo import record_devices, train_demo
    from thermograd.store.shipping.writing import written_to

    with written_to(runs, say) as folder:
        if train:
            with training_bar(steps) as (on_step, on_line):
                run = train_demo(folder, steps, seed, on_step, on_line)
        else:
            echo("Sampling this machine's devices for 30 s ...", err=True)
            run = record_devices(folder, 30.0, _stream_layer)
        echo("Analysing ...", err=True)
        analysis = analyze_run(run)
        paths = write_report(run, analysis)
        beside = [("", analysis)] if train else []
        for truth, scenario in _DEMO_TRUTHS:
            beside.append((truth, analyze_run(_write_simulated(folder, draw(scenario, seed=seed), 1.0))))
        echo(demo_summary(run, analysis, paths, demo_beside(beside)))
        tell_card(run, analysis, str(paths["report"]))


_DEMO_TRUTHS = (
    ("simulated, 20 min: NOT coupled,\nthe norm falls, the device heats", "trends"),
    ("simulated, 20 min: COUPLED by 0.3,\nthe hardware is 5 s behind", "coupled"),
)


@main.command(name="agent", hidden=True)
@click.argument("run_dir", type=PATH)
@click.option("--hz", default=5.0, type=FiniteRange(0.1, 10))
@click.option("--parent", required=True, type=int)
@click.option("--simulate", default=None)
@click.option("--alerts-json", is_flag=True, help="Print each alert as a line of JSON, too.")
@click.option("--card", is_flag=True, help="End with the run's card.")
@layer_options
def run_agent_process(
    run_dir: Path, hz: float, parent: int, simulate: str | None, layer: LayerOptions, **told: bool
) -> None:
    """Sample devices and raise alerts for a run (started by `start_run`)."""
    from thermograd.ingest.agent.agent import run_agent
    from thermograd.ingest.agent.silence import SilenceLimits

    limits = SilenceLimits()
    watch = _stream_layer(run_dir, layer, limits, parent=parent, **told)
    run_agent(run_dir, hz, parent, simulate, watch, limits=limits)


_NO_OPTIONS = LayerOptions()


@main.command(name="ship-rest", hidden=True)
@click.argument("run_dir", type=PATH)
def ship_rest(run_dir: Path) -> None:
    """Ship a run to its end, and what others left beside it (started by an agent that ends)."""
    from thermograd.ingest.agent.footprint import SparingFinder

    SparingFinder().install()
    from thermograd.store.shipping.rounds import ship_rest

    ship_rest(run_dir)


def _stream_layer(
    run_dir: Path,
    options: LayerOptions = _NO_OPTIONS,
    limits: "SilenceLimits | None" = None,
    alerts_json: bool = False,
    card: bool = False,
    parent: int = 0,
) -> Any:
    """Return what the agent calls to watch a run's log: ingest and stream do not know each other.

    When something is silent the configuration says, and `limits` to the sampler.
    """

    def layer(writer: "EventWriter", stop: "threading.Event") -> None:
        from thermograd.ingest.agent.agent import loading

        with loading:
            from thermograd.ingest.agent.saying import Sayings
            from thermograd.store.card.tally import FollowedRun
            from thermograd.store.log.watched import leave_watched
            from thermograd.store.runs.catalogue import Run
            from thermograd.stream.pipeline.config import live_settings
            from thermograd.stream.pipeline.live import watch_log

        def trouble(text: str) -> None:
            writer.append("mark", mark="error", text=text)
            said.say(f"thermograd: {text}")

        def where() -> Path:
            return writer.run_dir

        def leave(state: Any) -> None:
            leave_watched(where(), writer.writer, state)

        facts, log, said = Run(run_dir).facts, FollowedRun(where), Sayings(parent, alerts_json)
        settings = options.given(live_settings(options.config, trouble))
        if limits is not None:
            limits.periods, limits.quiet_s = settings.silence.periods, settings.silence.quiet_s
        watched = partial(watch_log, leave=leave, run_dir=where)
        watched = partial(
            watched,
            log.poll,
            said.alerts(writer.append),
            facts.get("devices", {}),
            stop,
            said.say,
            settings,
            facts,
        )
        with contextlib.ExitStack() as around:
            if card:
                around.callback(said.card, log.card)
            if settings.publish.url:
                from thermograd.stream.fleet.publishing import publishing

                publisher = publishing(settings.publish, where, writer.writer, stop, trouble)
                watched = partial(watched, around.enter_context(publisher))
            watched()

    return layer


@main.command(name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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


@main.command(cls=ExperimentCommand)
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


@main.command(cls=TwinCommand)
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


@main.command()
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
        watched = _stream_layer(run.path, layer, limits)
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
        of_run = partial(_stream_layer, options=layer)
        counts = receive(folder.absolute(), Doors(**doors), of_run, say, duration_s, hz)
    told = ", ".join(f"{counts.get(name, 0):,} {name}" for name in ("written", "repeated", "rejected"))
    beside = [
        (counts.get("late", 0), "after their step was written"),
        (counts.get("second", 0), "another value"),
    ]
    told += "".join(f"; {count:,} {how}, kept in a row of their own" for count, how in beside if count)
    echo(f"{counted(counts.get('exports', 0), 'export')}: readings {told}")


@main.command()
@click.option("--coupling", "rho", type=FiniteRange(-1, 1), help="Correlation of the innovations.")
@click.option("--lag", "lag_s", type=float, help="Whole seconds; above 0 the training leads.")
@click.option("--minutes", default=20.0, show_default=True, type=float, help="Length of the run.")
@click.option("--hz", default=1.0, show_default=True, type=FiniteRange(0.1, 10), help="Samples per s.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same values.")
@click.option("--scenario", "name", help="What happens; default coupled with --coupling, else uncoupled.")
@click.option("--list", "listed", is_flag=True, help="Say what every scenario is, and write nothing.")
@click.option("--add", "added", type=PATH, help="A Python file with processes of your own (docs/zoo.md).")
@click.option(
    "--hosts", type=click.IntRange(1, 4096), help="A job on so many hosts, each with its own clock."
)
@click.option("--ranks", type=click.IntRange(1, 4096), help="Ranks of that job; default 8 a host.")
@click.option(
    "--clock-offset", "clock_offset_s", type=FiniteRange(0, 86_400), help="Largest offset, s; default 0.2."
)
@json_option
@click.pass_obj
def simulate(
    runs: Path,
    /,
    hz: float,
    listed: bool,
    added: Path | None,
    as_json: bool,
    hosts: int | None,
    ranks: int | None,
    clock_offset_s: float | None,
    **scenario: Any,
) -> None:
    """Write a run of known truth, labelled simulated: watch the instrument be right, or wrong.

    Scenarios: uncoupled, coupled, coupled-trends, driver, spikes, throttling, and every process of the zoo,
    such as trends, cycle24, pulses20, irregular, slow30-trends; --list says what each is. Those that begin
    with experiment- hold randomised interventions.

    With --hosts: a job of many ranks on hosts whose clocks disagree and drift.

    Example: thermograd simulate --scenario trends --minutes 20
    """
    from thermograd.analysis.calibration.scenarios import scenario_list
    from thermograd.analysis.calibration.zoo import add_from
    from thermograd.ingest.simulate.experiment import world_list
    from thermograd.store.shipping.writing import written_to

    if added is not None:
        add_from(added)
    if hosts is None:
        _refuse_without_hosts(ranks, clock_offset_s)
    if listed:
        _echo_scenarios(scenario_list() | {"experiments": world_list()}, as_json)
        return
    with written_to(runs, say) as folder:
        if hosts is None:
            run = _write_scenario(folder, hz, **scenario)
        else:
            run = _write_cluster(folder, hosts, ranks, clock_offset_s, hz, scenario)
    if as_json:
        echo_json(run.summary() | {"truth": run.facts["truth"]})
        return
    counts = run.counts()
    told = ", ".join(counted(counts[kind], kind) for kind in ("step", "sample", "alert"))
    echo(f"{run.run_id}: {told}")
    echo(f"  truth: {run.name.removeprefix('simulated: ')} ({run.facts['truth']['about']})")
    echo(f"Next: thermograd analyze {run.run_id}", err=True)


def _echo_scenarios(groups: "dict[str, dict[str, str]]", as_json: bool) -> None:
    if as_json:
        echo_json(groups)
        return
    width = max(len(name) for group in groups.values() for name in group)
    for title, group in groups.items():
        echo(f"{title}\n" + "\n".join(f"  {name:{width}}  {about}" for name, about in group.items()))


def _refuse_without_hosts(ranks: int | None, offset_s: float | None) -> None:
    for option, given in (("--ranks", ranks), ("--clock-offset", offset_s)):
        if given is not None:
            raise click.UsageError(f"{option} is of a job on several hosts; give --hosts, too.")


def _write_cluster(
    runs: Path, hosts: int, ranks: int | None, offset_s: float | None, hz: float, scenario: "dict[str, Any]"
) -> "Run":
    from thermograd.ingest.simulate.cluster import cluster_asked_for, simulate_cluster

    if scenario["name"] is not None:
        raise click.UsageError("--hosts is a scenario of its own; leave --scenario out.")
    asked = {name: scenario[name] for name in ("minutes", "lag_s", "rho", "seed")}
    return simulate_cluster(runs, cluster_asked_for(hosts, ranks, clock_offset_s=offset_s, hz=hz, **asked))


def _write_scenario(runs: Path, hz: float, name: str | None, **asked: Any) -> "Run":
    from thermograd.analysis.calibration.scenarios import draw
    from thermograd.analysis.calibration.zoo.process import plain_name
    from thermograd.ingest.simulate.experiment import WORLDS, simulate_experiment

    world = plain_name(name or "")
    if world not in WORLDS:
        return _write_simulated(runs, draw(name, **asked), hz)
    if asked.pop("rho") is not None or asked.pop("lag_s") is not None:
        raise click.UsageError(f"--coupling and --lag: {world} has an effect, or none, of its own.")
    return simulate_experiment(runs, world, hz=hz, stream_layer=_watched(), **asked)


def _write_simulated(runs: Path, drawn: "Drawn", hz: float) -> "Run":
    """Hand what analysis drew to ingest, which writes it, and that to stream: none knows the others."""
    from thermograd.ingest.simulate.write import Signals, simulate_run

    return simulate_run(runs, Signals(**drawn.shown()), drawn.truth, hz, stream_layer=_watched())


def _watched() -> "StreamLayer":
    from thermograd.stream.pipeline.config import live_settings
    from thermograd.stream.pipeline.live import watch_written

    settings = live_settings(None, lambda text: echo(f"thermograd: {text}", err=True))
    return partial(watch_written, settings=settings)


if __name__ == "__main__":
    main(prog_name="thermograd")
