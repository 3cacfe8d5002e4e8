"""The options of the command ``import``, in groups.

Importing this costs click and nothing else.
"""

from collections.abc import Callable
from typing import Any

import click
from thermograd.store.console import PATH, FiniteRange, decorated

_SECONDS = FiniteRange(0, min_open=True)
_OTHERS = "Others"
_AGAIN = "; may be given again"


class GroupedCommand(click.Command):
    """A command whose options are shown in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", _OTHERS), []).append(record)
        for group in sorted(groups, key=_OTHERS.__eq__):
            with formatter.section(group):
                formatter.write_dl(groups[group])


class _GroupedOption(click.Option):
    def __init__(self, *args: Any, group: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.group = group


def _option(group: str, *names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(*names, cls=_GroupedOption, group=group, **options)


_FILES, _TIMES, _NAMES = (
    "Files and run",
    "Times that the log does not say",
    "Names that the log has of its own",
)
_OPTIONS = (
    _option(_FILES, "--training", type=PATH, help="The step log among the files."),
    _option(_FILES, "--telemetry", type=PATH, help="The device log among the files."),
    _option(
        _FILES, "--name", metavar="NAME", help="What you call the run; default the folder's or file's name."
    ),
    _option(_FILES, "--run", metavar="ID", help="Which run of a store of several; all: each of them."),
    _option(
        _FILES, "--dry-run", is_flag=True, help="Say what would be taken from which column; write nothing."
    ),
    _option(
        _TIMES, "--timezone", metavar="ZONE", help="Zone of times that name none, e.g. UTC or Europe/Vienna."
    ),
    _option(_TIMES, "--started-at", metavar="TIME", help="When a log without times or dates began."),
    _option(
        _TIMES,
        "--step-time",
        "step_time_s",
        type=_SECONDS,
        metavar="SECONDS",
        help="How long a step took; default from the log's train_runtime.",
    ),
    _option(
        _TIMES,
        "--steps-per-epoch",
        metavar="N",
        type=click.IntRange(1, 10**9),
        help="Steps an epoch has, for a log of epochs (Ultralytics, Keras).",
    ),
    _option(
        _TIMES,
        "--sample-time",
        "sample_time_s",
        type=_SECONDS,
        metavar="SECONDS",
        help="How long from one sample to the next.",
    ),
    _option(
        _NAMES,
        "--column",
        "columns",
        metavar="NAME=TAG",
        multiple=True,
        help=f"The log's name of a column, e.g. grad_norm=optim/total_grad_norm{_AGAIN}.",
    ),
    _option(
        _NAMES,
        "--unit",
        "units",
        metavar="NAME=UNIT",
        multiple=True,
        help=f"The unit of the log's numbers of a column, e.g. power_w=mW{_AGAIN}.",
    ),
    _option(_NAMES, "--device", metavar="NAME", help="The device of rows that name none; default gpu."),
    _option(
        _NAMES, "--time", metavar="COLUMN", help="The column with the times: the log is read as a table."
    ),
    _option(
        _NAMES, "--columns", "fields", metavar="A,B,...", help="The columns of a log that has no header."
    ),
    _option(
        _NAMES,
        "--pattern",
        metavar="REGEX",
        help="A line of a text log, with named groups, e.g. 'step (?P<step>\\d+) loss (?P<loss>\\S+)'.",
    ),
)


def import_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of an import."""
    return decorated(command, _OPTIONS)
