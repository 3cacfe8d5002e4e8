"""The commands ``config``, ``watch``, ``replay``, and the options of what starts a stream layer."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from thermograd.store.console import PATH, FiniteRange, echo, echo_json, find, json_option, run_argument

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run
    from thermograd.stream.settings import Settings

_config = click.option(
    "--config", type=PATH, help="Configuration; default $THERMOGRAD_CONFIG, or thermograd.toml here."
)


class LayerOptions(NamedTuple):
    """What the command line says about a stream layer: configuration, exporter, and the fleet's broker."""

    config: Path | None = None
    metrics_port: int | None = None
    metrics_host: str | None = None
    publish: str | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables that bring these options to another process; refuse wrong ones before it."""
        given = {
            "THERMOGRAD_CONFIG": None if self.config is None else self.config.absolute(),
            "THERMOGRAD_METRICS_PORT": self.metrics_port,
            "THERMOGRAD_METRICS_HOST": self.metrics_host,
            "THERMOGRAD_PUBLISH": self.publish,
        }
        settings = {name: str(value) for name, value in given.items() if value is not None}
        if settings:
            from thermograd.stream.pipeline.config import load_config

            publish = load_config(environment=os.environ | settings).settings.publish
            if publish.url:
                from thermograd.stream.fleet.brokers.opening import open_sender
                from thermograd.stream.fleet.brokers.transport import parse_address, refuse_credentials

                open_sender(parse_address(publish)).close()  # a wrong one is refused before anything begins
                refuse_credentials(self.publish)
        return settings

    def given(self, settings: "Settings") -> "Settings":
        """Return settings with what the command line says instead."""
        return settings.with_metrics(self.metrics_port, self.metrics_host).with_publish(self.publish)


def layer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a stream layer; the command gets them as `layer`."""

    @_config
    @click.option("--metrics-port", type=click.IntRange(0, 65_535), help="Answer Prometheus on this port.")
    @click.option("--metrics-host", help="Address of the metrics; default this machine only.")
    @click.option(
        "--publish",
        metavar="URL",
        help="The fleet's broker, nats://HOST:4222 or kafka://HOST:9092/TOPIC; default $THERMOGRAD_PUBLISH.",
    )
    @functools.wraps(command)
    def packed(
        *args: Any,
        config: Path | None,
        metrics_port: int | None,
        metrics_host: str | None,
        publish: str | None,
        **rest: Any,
    ) -> Any:
        return command(*args, layer=LayerOptions(config, metrics_port, metrics_host, publish), **rest)

    return packed


@click.group(name="config")
def config_group() -> None:
    """Show the configuration; print the dashboard and the alert rules for its metrics.

    Example: thermograd config show
    """


@config_group.command(name="show")
@_config
@json_option
def show_config(config: Path | None, as_json: bool) -> None:
    """Print every setting with its value, source and meaning, as TOML that can be saved; no secrets.

    Example: thermograd config show > thermograd.toml
    """
    from thermograd.stream.pipeline.config import load_config
    from thermograd.stream.pipeline.config_text import settings_rows, settings_toml

    configuration = load_config(config)
    if as_json:
        echo_json(settings_rows(configuration))
    else:
        click.echo(settings_toml(configuration))


@config_group.command(name="grafana")
def print_grafana() -> None:
    """Print the Grafana dashboard of the agents' metrics, to be imported there.

    Example: thermograd config grafana > thermograd.json
    """
    _print_shipped("grafana/thermograd.json")


@config_group.command(name="rules")
def print_rules() -> None:
    """Print Prometheus' alert rules for the agents' metrics, for its rule_files.

    Example: thermograd config rules > thermograd-rules.yaml
    """
    _print_shipped("prometheus/thermograd-rules.yaml")


def _print_shipped(name: str) -> None:
    from importlib.resources import files

    click.echo(files("thermograd").joinpath("deploy", name).read_text(encoding="utf-8"), nl=False)


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--refresh", "refresh_s", default=0.5, show_default=True, type=FiniteRange(0.1, 60))
@click.option("--all", "every_run", is_flag=True, help="One line for each live run of the directory.")
@click.option("--fleet", is_flag=True, help="All live runs: of the broker, else of the runs' directory.")
@click.option("--from", "url", metavar="URL", help="The fleet's broker; default $THERMOGRAD_PUBLISH.")
@click.option("--consumer", metavar="NAME", help="Go on where the last of this name was; no alert twice.")
@click.option(
    "--json", "as_json", is_flag=True, help="A document with --once; else --all's as lines, --fleet's alerts."
)
@click.pass_obj
def watch(
    runs: Path,
    /,
    run: str | None,
    every_run: bool,
    fleet: bool,
    url: str | None,
    consumer: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Show a live or finished run in the terminal until q or Ctrl-C; with --all or --fleet all live runs.

    Example: thermograd watch latest
    """
    _refuse_together(run, every_run, fleet, url or consumer, as_json)
    if not how["once"]:
        import signal

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the terminal is put back
    with contextlib.suppress(KeyboardInterrupt):
        if not every_run and not fleet:
            _watch_run(find(run or "latest"), **how)
            return
        from thermograd.stream.fleet.watching import watch_all, watch_fleet

        if every_run:
            watch_all(runs, as_json=as_json, **how)
        else:
            watch_fleet(runs, url=url, consumer=consumer, as_json=as_json, **how)


def _refuse_together(
    run: str | None, every_run: bool, fleet: bool, of_fleet: str | None, as_json: bool
) -> None:
    if run is not None and (every_run or fleet):
        raise click.UsageError(f"{'--all' if every_run else '--fleet'} shows all live runs; name none")
    if every_run and fleet:
        raise click.UsageError("--all is one line a run, --fleet trouble first; give one of them")
    if of_fleet and not fleet:
        raise click.UsageError("--from and --consumer are of --fleet")
    if as_json and not (every_run or fleet):
        raise click.UsageError("--json is of --all and --fleet")


_WATCHED = 10_000  # events of each writer and kind that the view begins with


def _watch_run(run: "Run", once: bool, refresh_s: float) -> None:
    from rich.console import Console
    from thermograd.store.events import WATCHED_KINDS
    from thermograd.store.log.following.follower import Follower
    from thermograd.store.places.following import kept_fresh
    from thermograd.store.places.shipped import shipped_s_ago
    from thermograd.store.telling.quantities import age_text
    from thermograd.stream.terminal.state import RunFacts
    from thermograd.stream.terminal.watch import watch as show_live

    def describe() -> RunFacts:
        now = type(run)(run.path)  # facts are read once an object
        end, hosts = now.end(), tuple(now.silent_hosts())
        silent = end.state == "crashed" and bool(hosts)
        state, reason = ("silent", None) if silent else (end.state, end.reason)
        shipped_s = shipped_s_ago(run.path)
        if state == "live" and shipped_s is not None:
            reason = f"shipped until {age_text(shipped_s)} ago"
        return RunFacts(now.run_id, now.name, state, hosts, now.facts.get("devices", {}), reason)

    poll = Follower(run.path, WATCHED_KINDS, _WATCHED).poll
    with kept_fresh(run.path):
        show_live(poll, describe, Console(), None, refresh_s, once)


@click.command()
@run_argument()
@click.option("--check", is_flag=True, help="Compare with the alerts recorded live.")
@click.option(
    "--config",
    type=PATH,
    help="Replay with these definitions instead of the run's own; the alerts go to a file of their own.",
)
@click.option("-o", "--output", type=PATH, help="That file; default in the run.")
@click.option("--every", is_flag=True, help="Print every alert, not what repeats as one episode.")
@json_option
def replay(
    run: "Run", check: bool, config: Path | None, output: Path | None, every: bool, as_json: bool
) -> None:
    """Run the stream layer over a log again, with the definitions it was recorded with or others.

    Example: thermograd replay latest --check
    """
    from thermograd.store.events import WATCHED_KINDS
    from thermograd.store.log.reader import events_in_order, iterate_events
    from thermograd.stream.pipeline.config import load_config, recorded_settings
    from thermograd.stream.pipeline.live import recorded_definitions
    from thermograd.stream.pipeline.replay import replay_events

    marks = events_in_order(run.path, ("mark",))
    if config is not None:
        settings = load_config(config).settings
    else:
        settings = recorded_settings(recorded_definitions(marks))
    world_size = run.facts.get("job", {}).get("world_size")
    result = replay_events(
        iterate_events(run.path, WATCHED_KINDS),
        run.facts.get("devices", {}),
        settings,
        world_size,
        marks=[mark.values for mark in marks],
    )
    if as_json:
        document = result.check() if check else result.to_json()
    else:
        for line in result.lines(every):
            echo(line)
        echo(result.sentence(check))
    if config is not None or output is not None:
        from thermograd.stream.pipeline.replay import write_replay

        path = write_replay(run.path, run.run_id, result, output)
        if as_json:
            document["file"] = str(path)
        else:
            echo(f"{result.difference_text()}\nwritten to {path}")
    if as_json:
        echo_json(document)
    if check and result.check()["identical"] is False:
        sys.exit(1)
