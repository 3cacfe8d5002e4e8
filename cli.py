"""The command line: each command parses, calls one function, and echoes.

Results go to stdout, progress and messages to stderr. Exit code 0: done, 1: a clear error, 2: usage.
"""

import contextlib
import json as json_module
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import threading

    from thermograd.analysis.calibration.scenarios import Drawn
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.runs.catalogue import Run


class _Group(click.Group):
    """Turns thermograd's own errors into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        from thermograd.store.errors import ThermogradError
        from thermograd.store.text import printable_lines

        try:
            return super().invoke(ctx)
        except ThermogradError as error:
            raise click.ClickException(printable_lines(str(error))) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    envvar="THERMOGRAD_RUNS",
    default=Path("runs"),
    show_default=True,
    help="Directory of runs.",
)
@click.version_option(package_name="thermograd")
@click.pass_context
def main(context: click.Context, runs: Path) -> None:
    """Find out whether a training run shakes its hardware, or the hardware its training run."""
    context.obj = runs


_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration; default $THERMOGRAD_CONFIG, or thermograd.toml here.",
)


def _metrics(command: Any) -> Any:
    command = click.option("--metrics-host", help="Address of the metrics; default this machine only.")(
        command
    )
    return click.option(
        "--metrics-port", type=click.IntRange(0, 65_535), help="Answer Prometheus on this port."
    )(command)


def _echo_json(value: Any) -> None:
    from thermograd.store.text import without_nan

    click.echo(json_module.dumps(without_nan(value), indent=2, default=str, allow_nan=False))


def _echo(text: object, err: bool = False) -> None:
    """Print text that may hold what strangers wrote."""
    from thermograd.store.text import printable_lines

    click.echo(printable_lines(str(text)), err=err)


def _find(runs: Path, reference: str) -> "Run":
    from thermograd.store.runs.catalogue import find_run

    return find_run(runs, reference)


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
    from thermograd.analysis.report.text.comparison import demo_beside
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.ingest.demo import record_devices, train_demo

    if train:
        with _Progress(steps) as progress:
            run = train_demo(runs, steps, seed, progress.step, progress.line)
    else:
        _echo("Sampling this machine's devices for 30 s ...", err=True)
        run = record_devices(runs, 30.0, _stream_layer)
    _echo("Analysing ...", err=True)
    analysis = analyze_run(run)
    paths = write_report(run, analysis)
    beside = [("", analysis)] if train else []
    for truth, scenario in _DEMO_TRUTHS:
        beside.append((truth, analyze_run(_write_simulated(runs, draw(scenario, seed=seed), 1.0))))
    _echo(demo_summary(run, analysis, paths, demo_beside(beside)))


_DEMO_TRUTHS = (
    ("simulated, 20 min: NOT coupled,\nthe norm falls, the device heats", "trends"),
    ("simulated, 20 min: COUPLED by 0.3,\nthe hardware is 5 s behind", "coupled"),
)


class _Progress:
    """A progress bar on stderr with lines (alerts) above it."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("Training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=steps, loss="-")

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, step: int, logs: dict[str, Any]) -> None:
        """Show how far the training is."""
        loss = logs.get("loss")
        self._bar.update(self._task, completed=step, loss="-" if loss is None else f"{loss:.3f}")

    def line(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


@main.command(name="agent", hidden=True)
@click.argument("run_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--hz", default=5.0, type=click.FloatRange(0.1, 10))
@click.option("--parent", required=True, type=int)
@click.option("--simulate", default=None)
@click.option("--alerts-json", is_flag=True, help="Print each alert as a line of JSON, too.")
@_config
@_metrics
def run_agent_process(
    run_dir: Path,
    hz: float,
    parent: int,
    simulate: str | None,
    alerts_json: bool,
    config: Path | None,
    metrics_port: int | None,
    metrics_host: str | None,
) -> None:
    """Sample devices and raise alerts for a run (started by `start_run`)."""
    from thermograd.ingest.agent.agent import run_agent

    layer = _stream_layer(run_dir, alerts_json, config, metrics_port, metrics_host)
    run_agent(run_dir, hz, parent, simulate, layer)


def _stream_layer(
    run_dir: Path,
    alerts_json: bool = False,
    config: Path | None = None,
    metrics_port: int | None = None,
    metrics_host: str | None = None,
) -> Any:
    def layer(writer: "EventWriter", stop: "threading.Event") -> None:
        from thermograd.ingest.agent.agent import print_alerts, print_line
        from thermograd.store.log.reader import Follower
        from thermograd.store.runs.catalogue import Run
        from thermograd.stream.pipeline.config import live_settings
        from thermograd.stream.pipeline.live import watch_log

        def trouble(text: str) -> None:
            writer.append("mark", mark="error", text=text)
            print_line(f"thermograd: {text}")

        facts = Run(run_dir).facts
        settings = live_settings(config, trouble).with_metrics(metrics_port, metrics_host)
        append = print_alerts(writer.append) if alerts_json else writer.append
        poll = Follower(run_dir).poll
        watch_log(poll, append, facts.get("devices", {}), stop, print_line, settings, facts)

    return layer


@main.command(name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--name", help="What you call the run; default the command's script.")
@click.option("--hz", default=5.0, show_default=True, type=click.FloatRange(0.1, 10), help="Samples per s.")
@_config
@_metrics
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run_command(
    runs: Path,
    name: str | None,
    hz: float,
    config: Path | None,
    metrics_port: int | None,
    metrics_host: str | None,
    command: tuple[str, ...],
) -> None:
    """Run an unmodified training command, recorded; also torchrun and accelerate launch.

    The exit code is the command's own; 128 + n if signal n ended it, 127 if there is no such command.

    Example: thermograd run --name baseline -- python train.py --epochs 3
    """
    from thermograd.ingest.launch.launcher import launch

    def say(text: str) -> None:
        _echo(f"thermograd: {text}", err=True)

    sys.exit(launch(runs, name, hz, command, say, _agent_settings(config, metrics_port, metrics_host)))


def _agent_settings(
    config: Path | None, metrics_port: int | None, metrics_host: str | None
) -> dict[str, str]:
    """Return the variables that bring options to the agent of a training; refuse wrong ones before it."""
    if config is None and metrics_port is None and metrics_host is None:
        return {}
    from thermograd.stream.pipeline.config import as_environment, load_config

    settings = as_environment(config, metrics_port, metrics_host)
    load_config(environment=os.environ | settings)
    return settings


@main.command()
@click.option("--duration", "duration_s", type=click.FloatRange(0.1), help="Seconds; default until Ctrl-C.")
@click.option("--hz", default=5.0, show_default=True, type=click.FloatRange(0.1, 10), help="Samples per s.")
@click.option("--name", default="record", show_default=True, help="What you call the run.")
@_config
@_metrics
@click.pass_obj
def record(
    runs: Path,
    duration_s: float | None,
    hz: float,
    name: str,
    config: Path | None,
    metrics_port: int | None,
    metrics_host: str | None,
) -> None:
    """Sample this machine's devices, without a training run.

    Example: thermograd record --duration 60 --hz 2
    """
    from thermograd.ingest.agent.footprint import frugal

    with frugal():  # this process is the agent
        from thermograd.ingest.agent.agent import run_agent
        from thermograd.ingest.job.facts import run_facts
        from thermograd.store.runs.catalogue import create_run
        from thermograd.stream.pipeline.config import load_config

        load_config(config)  # refuse a wrong one before anything is recorded
        run = create_run(runs, name, run_facts() | {"sampling_hz": hz})
        _echo(f"Recording {run.run_id}; Ctrl-C ends it.", err=True)
        layer = _stream_layer(run.path, False, config, metrics_port, metrics_host)
        samples = run_agent(run.path, hz, 0, None, layer, duration_s)
    _echo(f"{run.run_id}: {samples} samples")


@main.command()
@click.option("--coupling", "rho", type=click.FloatRange(-1, 1), help="Correlation of the innovations.")
@click.option("--lag", "lag_s", type=float, help="Whole seconds; above 0 the training leads.")
@click.option("--minutes", default=20.0, show_default=True, type=float, help="Length of the run.")
@click.option("--hz", default=1.0, show_default=True, type=click.FloatRange(0.1, 10), help="Samples per s.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same values.")
@click.option("--scenario", help="What happens; default coupled with --coupling, else uncoupled.")
@_json
@click.pass_obj
def simulate(
    runs: Path,
    rho: float | None,
    lag_s: float | None,
    minutes: float,
    hz: float,
    seed: int,
    scenario: str | None,
    as_json: bool,
) -> None:
    """Write a run of known truth, labelled simulated: watch the instrument be right, or wrong.

    Scenarios: uncoupled, coupled, trends, coupled-trends, driver, spikes, throttling, kink, shared-kink,
    rw, heavy, hetero, burst, period, coll, ar.5, ar.9, ar.98.

    Example: thermograd simulate --scenario trends --minutes 20
    """
    from thermograd.analysis.calibration.scenarios import draw

    run = _write_simulated(runs, draw(scenario, rho, lag_s, minutes, seed), hz)
    if as_json:
        _echo_json(run.summary() | {"truth": run.facts["truth"]})
        return
    counts = run.counts()
    told = ", ".join(f"{counts[kind]} {kind}s" for kind in ("step", "sample", "alert"))
    _echo(f"{run.run_id}: {told}")
    _echo(f"  truth: {run.name.removeprefix('simulated: ')} ({run.facts['truth']['about']})")
    _echo(f"Next: thermograd analyze {run.run_id}", err=True)


def _write_simulated(runs: Path, drawn: "Drawn", hz: float) -> "Run":
    """Hand what analysis drew to ingest, which writes it, and that to stream: none knows the others."""
    from thermograd.ingest.simulate.write import Signals, simulate_run
    from thermograd.stream.pipeline.config import live_settings
    from thermograd.stream.pipeline.live import watch_written

    settings = live_settings(None, lambda text: _echo(f"thermograd: {text}", err=True))
    signals = Signals(drawn.pair.x, drawn.pair.y, drawn.sensor, drawn.load, drawn.period_s)
    return simulate_run(
        runs, signals, drawn.truth, hz, stream_layer=partial(watch_written, settings=settings)
    )


@main.command(name="import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--training", type=click.Path(path_type=Path), help="The step log among the files.")
@click.option("--telemetry", type=click.Path(path_type=Path), help="The device log among the files.")
@click.option("--timezone", help="Zone of times that name none, e.g. UTC or Europe/Vienna.")
@click.option("--name", help="What you call the run; default the folder's or file's name.")
@click.option("--started-at", metavar="TIME", help="When the training began, for a log without times.")
@click.option(
    "--step-time",
    "step_time_s",
    type=click.FloatRange(0, min_open=True),
    help="Seconds a step took, for a log without times; default from its train_runtime.",
)
@_json
@click.pass_obj
def import_logs(
    runs: Path,
    paths: tuple[Path, ...],
    training: Path | None,
    telemetry: Path | None,
    timezone: str | None,
    name: str | None,
    started_at: str | None,
    step_time_s: float | None,
    as_json: bool,
) -> None:
    """Turn recorded logs (a step log, a device log, or a folder with both) into a run.

    Formats are recognised by content: RLE CSV and step log JSON, TensorBoard events, W&B (.wandb,
    history CSV), nvidia-smi CSV, DCGM metrics (Prometheus text or range query), HWiNFO CSV. The Hugging
    Face trainer_state.json has no times: with --started-at they are estimated, and the run says so.

    Example: thermograd import recordings/run_1
    """
    from thermograd.ingest.importers.importing import describe_import, import_run
    from thermograd.ingest.importers.recording import Hints

    hints = Hints(started_at, step_time_s)
    result = import_run(runs, list(paths), training, telemetry, timezone, name, hints)
    if as_json:
        _echo_json(result)
        return
    _echo(describe_import(result))


@main.command(name="runs")
@click.option(
    "--prune-older-than", "age", help="Show which runs are older, e.g. 30d; with --yes delete them."
)
@click.option("--yes", is_flag=True, help="With --prune-older-than: delete. Live runs are never deleted.")
@_json
@click.pass_obj
def list_all_runs(runs: Path, age: str | None, yes: bool, as_json: bool) -> None:
    """List the runs, oldest first.

    Example: thermograd runs --prune-older-than 30d
    """
    if age is not None:
        _prune(runs, age, yes, as_json)
        return
    if yes:
        raise click.UsageError("--yes is for --prune-older-than.")
    from thermograd.store.runs.catalogue import list_runs
    from thermograd.store.text import runs_table

    rows = [run.summary() for run in list_runs(runs)]
    if as_json:
        _echo_json(rows)
    elif rows:
        _echo(runs_table(rows))
    else:
        _echo(f"No run in {runs} yet. Try: thermograd demo", err=True)


def _prune(runs: Path, age: str, delete: bool, as_json: bool) -> None:
    from thermograd.store.runs.retention import delete_run, finish_deletions, old_runs, parse_age

    try:
        old = old_runs(runs, parse_age(age))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--prune-older-than") from error
    if delete:
        finish_deletions(runs)
    if as_json:
        for entry in old:
            if delete and not entry.live:
                delete_run(entry.run)
        _echo_json(
            [
                {
                    "run_id": entry.run.run_id,
                    "age_s": entry.age_s,
                    "size_bytes": entry.size_bytes,
                    "live": entry.live,
                    "deleted": delete and not entry.live,
                }
                for entry in old
            ]
        )
        return
    for entry in old:
        text = f"{entry.run.run_id}  {entry.age_s / 86_400:.1f} days  {entry.size_bytes / 1e6:.1f} MB"
        if entry.live:
            _echo(f"kept     {text}  (live)")
        elif delete:
            delete_run(entry.run)
            _echo(f"deleted  {text}")
        else:
            _echo(f"would delete  {text}")
    if not old:
        _echo(f"No run in {runs} is older than {age}.", err=True)
    elif not delete:
        _echo("Nothing was deleted; add --yes to do it.", err=True)


@main.command()
@click.argument("run")
@_json
@click.pass_obj
def show(runs: Path, run: str, as_json: bool) -> None:
    """Show one run: facts, devices, gaps and alerts.

    Example: thermograd show latest
    """
    from thermograd.store.runs.describe import describe_run, run_facts_shown

    facts = run_facts_shown(_find(runs, run))
    if as_json:
        _echo_json(facts)
    else:
        _echo(describe_run(facts))


@main.command()
@click.argument("sql")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet", "arrow"]),
    default="table",
    show_default=True,
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead of stdout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.01), help="Stop after this many seconds.")
@click.option("--untrusted", is_flag=True, help="Answer in a child process with limits: SQL from others.")
@_json
@click.pass_obj
def query(
    runs: Path,
    sql: str,
    output_format: str,
    output: Path | None,
    timeout_s: float | None,
    untrusted: bool,
    as_json: bool,
) -> None:
    """Answer one SELECT over all runs: runs, steps, samples, alerts, marks, aligned, efficiency.

    Example: thermograd query "SELECT run_id, count(*), max(grad_norm) FROM steps GROUP BY ALL"
    """
    from thermograd.store.query.interrupt import ended_after, ended_by_ctrl_c

    with ended_by_ctrl_c():
        from thermograd.store.query.encode import encoded_table, write_result

        if untrusted:
            from thermograd.store.query.sandbox import query_untrusted

            table = query_untrusted(sql, runs, timeout_s or 10.0)
        else:
            from thermograd.store.query.connection import query as run_query

            with ended_after(timeout_s):
                table = run_query(sql, runs, timeout_s)
        output_format = "json" if as_json else output_format
        data = encoded_table(table, output_format)
        if output is None:
            write_result(data, output_format)
            return
    try:
        write_result(data, output_format, output)
    except KeyboardInterrupt:  # what was half written is gone: now end as above
        with ended_by_ctrl_c():
            signal.raise_signal(signal.SIGINT)


@main.command()
@click.argument("run")
@click.option("--check", is_flag=True, help="Compare with the alerts recorded live.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Replay with these definitions instead of the run's own; the alerts go to a file of their own.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="That file; default in the run.")
@_json
@click.pass_obj
def replay(
    runs: Path, run: str, check: bool, config: Path | None, output: Path | None, as_json: bool
) -> None:
    """Run the stream layer over a log again, with the definitions it was recorded with or others.

    Example: thermograd replay latest --check
    """
    from thermograd.store.log.reader import events_in_order
    from thermograd.stream.pipeline.config import load_config, recorded_settings
    from thermograd.stream.pipeline.live import recorded_definitions
    from thermograd.stream.pipeline.replay import replay_events
    from thermograd.stream.sinks.notifier import alert_line

    found = _find(runs, run)
    if config is not None:
        settings = load_config(config).settings
    else:
        settings = recorded_settings(recorded_definitions(events_in_order(found.path, ("mark",))))
    world_size = found.facts.get("job", {}).get("world_size")
    result = replay_events(events_in_order(found.path), found.facts.get("devices", {}), settings, world_size)
    if as_json:
        document = result.check() if check else {"alerts": result.alerts, "digest": result.digest}
    else:
        for alert in result.alerts:
            _echo(alert_line(alert))
        _echo(result.sentence(check))
    if config is not None or output is not None:
        from thermograd.stream.pipeline.replay import difference, write_replay

        path = write_replay(found.path, found.run_id, settings, result.alerts, result.recorded, output)
        if as_json:
            document["file"] = str(path)
        else:
            _echo(f"{difference(result.recorded, result.alerts).sentences()}\nwritten to {path}")
    if as_json:
        _echo_json(document)
    if check and result.check()["identical"] is False:
        sys.exit(1)


@main.command()
@click.argument("run")
@click.option("--x", help="Training signal; default all.")
@click.option("--y", help="Hardware signal; default all the devices have.")
@click.option("--device", help="One device; default all.")
@click.option("--method", type=click.Choice(["rxc", "pearson"]), default="rxc", show_default=True)
@click.option("--tolerance", "tolerance_s", default=1.0, show_default=True, type=click.FloatRange(0))
@click.option("--max-lag", "max_lag_s", default=12.0, show_default=True, type=click.FloatRange(0))
@click.option(
    "--control", "controls_from", metavar="RUN", multiple=True, help="A run whose hardware is a control."
)
@_json
@click.pass_obj
def analyze(
    runs: Path,
    run: str,
    x: str | None,
    y: str | None,
    device: str | None,
    method: str,
    tolerance_s: float,
    max_lag_s: float,
    controls_from: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say whether training and hardware are coupled, how strongly, and how sure that is.

    Example: thermograd analyze latest --y temperature_c
    """
    from thermograd.analysis.report.text.analysis import describe_analysis
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series

    controls = [load_series(_find(runs, other)) for other in controls_from]
    analysis = analyze_run(
        _find(runs, run), x, y, device, method, tolerance_s, max_lag_s, controls_from=controls
    )
    if as_json:
        _echo_json(analysis.to_json())
    else:
        _echo(describe_analysis(analysis))


@main.command()
@click.option("--runs", "count", default=200, show_default=True, type=click.IntRange(1), help="Of each kind.")
@click.option(
    "--hz",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.001, 1000),
    help="Steps or samples per s, whichever is fewer.",
)
@click.option(
    "--minutes", default=10.0, show_default=True, type=click.FloatRange(0.1, 10_000), help="Length of a run."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.html"),
    show_default=True,
    help="Where the report goes.",
)
def calibrate(count: int, hz: float, minutes: float, seed: int, output: Path) -> None:
    """Measure false positives and power for your sampling rate and run length; Ctrl-C keeps what is done.

    Example: thermograd calibrate --minutes 30 --hz 0.5
    """
    from thermograd.analysis.calibration.calibrate import calibrate as measured
    from thermograd.analysis.report.calibration_report import (
        calibration_text,
        require_writable,
        write_calibration,
    )

    require_writable(output)

    def progress(name: str, done: int, every: int) -> None:
        _echo(f"{done + 1}/{every}  {name}", err=True)

    result = measured(count, hz, minutes, seed, progress)
    _echo(calibration_text(result))
    write_calibration(output, result)
    _echo(f"Report: {output}", err=True)


@main.command()
@click.argument("run")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Directory, default the run's own; for md a file."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "md"]),
    default="html",
    show_default=True,
    help="md: Markdown for a pull request or an issue, on stdout or in the file -o.",
)
@click.option(
    "--data",
    "data_format",
    type=click.Choice(["csv", "parquet"]),
    help="Write the points of the figures too.",
)
@click.pass_obj
def report(runs: Path, run: str, output: Path | None, output_format: str, data_format: str | None) -> None:
    """Write report.html, the figures as PNG, PDF and SVG, and analysis.json of a run.

    Example: thermograd report latest -o report --data csv
    """
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series

    if output_format == "md" and data_format:
        raise click.UsageError("--data writes the points of the figures, which --format md does not have.")
    found = _find(runs, run)
    series = load_series(found)
    analysis = analyze_run(found, series=series)
    if output_format == "md":
        from thermograd.analysis.report.text.markdown import write_markdown

        click.echo(write_markdown(series, analysis, output), nl=output is not None)
        return
    from thermograd.analysis.report.run_report import write_report

    for path in write_report(found, analysis, output, data_format, series).values():
        _echo(path)


@main.command()
@click.argument("run", nargs=-1, required=True)
@click.option("--x", help="Training signal of the question; default the first that the runs share.")
@click.option("--y", help="Hardware signal of the question; default the first that the runs share.")
@click.option("--max-lag", "max_lag_s", default=12.0, show_default=True, type=click.FloatRange(1))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Directory for page, figure, numbers.")
@_json
@click.pass_obj
def compare(
    runs: Path,
    run: tuple[str, ...],
    x: str | None,
    y: str | None,
    max_lag_s: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Put runs side by side: what they say together, and how alike the trainings are.

    With five different trainings or more a session swap tests whether training fits its own hardware
    better than another run's. Copies of one training count once.

    Example: thermograd compare baseline-1 baseline-2 baseline-3 baseline-4 baseline-5 -o comparison
    """
    from thermograd.analysis.comparison.compare import compare_runs
    from thermograd.analysis.report.text.comparison import describe_comparison

    comparison = compare_runs([_find(runs, reference) for reference in run], x, y, max_lag_s)
    paths = {}
    if output is not None:
        from thermograd.analysis.report.comparison_report import write_comparison

        paths = write_comparison(comparison, output)
    if as_json:
        _echo_json(comparison.to_json())
        return
    _echo(describe_comparison(comparison))
    for path in paths.values():
        _echo(path)


@main.command()
@click.argument("run")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["grad_norm_log", "csv", "parquet"]),
    required=True,
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File or directory.")
@click.pass_obj
def export(runs: Path, run: str, output_format: str, output: Path) -> None:
    """Write a run's events for other tools.

    Example: thermograd export latest --format grad_norm_log -o grad_norm_log.json
    """
    from thermograd.store.runs.export import export_run

    for path in export_run(_find(runs, run), output_format, output):
        _echo(path)


@main.command()
@click.argument("run")
@_json
@click.pass_obj
def verify(runs: Path, run: str, as_json: bool) -> None:
    """Read every file of a run with its checksums and say what is whole.

    Example: thermograd verify latest
    """
    from thermograd.store.log.seal import verify_run
    from thermograd.store.runs.describe import describe_verification

    result = verify_run(_find(runs, run).path)
    if as_json:
        _echo_json(result)
    else:
        _echo(describe_verification(result))
    if not result["ok"]:
        sys.exit(1)


@main.command()
@click.argument("run")
@click.pass_obj
def seal(runs: Path, run: str) -> None:
    """Turn a run's live segments into Parquet; of a live run only what is complete.

    Example: thermograd seal latest
    """
    from thermograd.store.log.seal import seal_run

    found = _find(runs, run)
    result = seal_run(found.path, found.run_id, found.live_writers())
    for path in result.files:
        _echo(path)
    for damage in result.damage:
        text = f"{damage.path.name}: {damage.reason} at byte {damage.offset}; kept in quarantine"
        _echo(text, err=True)
    if result.busy:
        _echo("Another process is sealing this run just now.", err=True)
    elif not result.files:
        _echo("Nothing to seal.", err=True)


@main.command()
@click.argument("run", default="latest")
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--refresh", "refresh_s", default=0.5, show_default=True, type=click.FloatRange(0.1, 60))
@click.pass_obj
def watch(runs: Path, run: str, once: bool, refresh_s: float) -> None:
    """Show a live or finished run in the terminal until q or Ctrl-C.

    Example: thermograd watch latest
    """
    from rich.console import Console
    from thermograd.store.log.reader import Follower
    from thermograd.stream.terminal.state import RunFacts
    from thermograd.stream.terminal.watch import watch as show_live

    found = _find(runs, run)

    def describe() -> RunFacts:
        now = type(found)(found.path)  # facts are read once an object
        state, hosts = now.state(), tuple(now.silent_hosts())
        state = "silent" if state == "crashed" and hosts else state
        return RunFacts(now.run_id, now.name, state, hosts, now.facts.get("devices", {}))

    if not once:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the terminal is put back
    with contextlib.suppress(KeyboardInterrupt):
        show_live(Follower(found.path, last=_WATCHED).poll, describe, Console(), None, refresh_s, once)


_WATCHED = 10_000  # events of each writer and kind that the view begins with


@main.group(name="config")
def config_group() -> None:
    """Show the configuration.

    Example: thermograd config show
    """


@config_group.command(name="show")
@_config
@_json
def show_config(config: Path | None, as_json: bool) -> None:
    """Print every setting with its value, source and meaning, as TOML that can be saved; no secrets.

    Example: thermograd config show > thermograd.toml
    """
    from thermograd.stream.pipeline.config import load_config
    from thermograd.stream.pipeline.config_text import settings_rows, settings_toml

    configuration = load_config(config)
    if as_json:
        _echo_json(settings_rows(configuration))
    else:
        click.echo(settings_toml(configuration))


@main.command()
@_json
def doctor(as_json: bool) -> None:
    """Say what this machine can measure, and why not the rest.

    Example: thermograd doctor
    """
    from thermograd.ingest.devices.doctor import describe_machine, examine_machine

    facts = examine_machine()
    if as_json:
        _echo_json(facts)
    else:
        _echo(describe_machine(facts))


if __name__ == "__main__":
    main()
