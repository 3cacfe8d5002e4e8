"""The commands that make a run to look at: demo simulate."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thermograd.store.console import PATH, FiniteRange, echo, echo_json, json_option, say, training_bar
from thermograd.store.telling.quantities import counted

if TYPE_CHECKING:
    from thermograd.analysis.calibration.scenarios import Drawn
    from thermograd.ingest.simulate.write import StreamLayer
    from thermograd.store.runs.catalogue import Run


@click.command()
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
            from thermograd.commands.agent import stream_layer

            echo("Sampling this machine's devices for 30 s ...", err=True)
            run = record_devices(folder, 30.0, stream_layer)
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


@click.command()
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
