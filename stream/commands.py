"""The command ``config``, and the options of every command that starts a stream layer."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from thermograd.store.console import PATH, echo_json, json_option

if TYPE_CHECKING:
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


COMMANDS = (config_group,)
