"""The options of ``thermograd record`` for what is received; importing it costs what click costs."""

import functools
from collections.abc import Callable
from typing import Any

import click
from thermograd.store.console import PATH, FiniteRange, decorated

_OPTIONS = (
    click.option("--otlp", "http", metavar="HOST:PORT", help="Receive metrics by OTLP over HTTP here."),
    click.option("--otlp-grpc", "grpc", metavar="HOST:PORT", help="Receive them over gRPC, with grpcio."),
    click.option(
        "--column",
        "columns",
        metavar="NAME=METRIC",
        multiple=True,
        help="What they call a column, e.g. power_w=node.gpu.power; may be given again.",
    ),
    click.option(
        "--unit", "units", metavar="NAME=UNIT", multiple=True, help="A column's unit there, e.g. power_w=mW."
    ),
    click.option("--run-by", metavar="ATTRIBUTE", help="What tells runs apart, e.g. host.name."),
    click.option(
        "--devices", is_flag=True, help="With --otlp: sample this machine's devices, too, into its runs."
    ),
    click.option(
        "--idle", "idle_s", type=FiniteRange(1), help="Seconds without a reading that end a run; default 600."
    ),
    click.option(
        "--token-file",
        type=PATH,
        help="What senders carry, asked for at any address but this machine's own; default made.",
    ),
)


def received_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, as one argument `received`: a dictionary of what was given."""

    @functools.wraps(command)
    def gathered(*args: Any, **given: Any) -> Any:
        names = ("http", "grpc", "columns", "units", "run_by", "idle_s", "token_file", "devices")
        told = {name: value for name in names if (value := given.pop(name))}
        if told and not ("http" in told or "grpc" in told):
            raise click.UsageError("these options are of what is received; give --otlp HOST:PORT, too.")
        return command(*args, received=told, **given)

    return decorated(gathered, _OPTIONS)
