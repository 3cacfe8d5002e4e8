"""The commands of analysis that tell of one run what needs no question: show, card, moment."""

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from thermograd.store.console import PATH, echo, echo_json_text, json_option, leave_at_once, run_argument

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run

_NO_EXTRA, _NICEST = 3, 19


@click.command()
@run_argument()
@click.option("--alerts", "every_alert", is_flag=True, help="Every alert, not what repeats as one episode.")
@json_option
def show(run: "Run", every_alert: bool, as_json: bool) -> None:
    """Show one run: facts, what heat cost it, devices, gaps and alerts.

    Example: thermograd show latest
    """
    from thermograd.analysis.fleet.shown import shown_text

    text = shown_text(run, as_json, every_alert)
    echo_json_text(text) if as_json else echo(text)
    leave_at_once()


@click.command(hidden=True)
@click.argument("run_dir", type=PATH)
@click.option("--verdict/--no-verdict", default=True)
def card(run_dir: Path, verdict: bool) -> None:
    """Print the lines of a run's card as JSON, as soon as they are known (started when a command ends)."""
    from thermograd.analysis.report.text.card import cards_of
    from thermograd.store.runs.catalogue import Run

    for lines in cards_of(Run(run_dir), verdict):
        click.echo(json.dumps(lines))


@click.command(hidden=True)
@click.argument("run_dir", type=PATH)
def moment(run_dir: Path) -> None:
    """Draw the alert that is given on stdin as JSON, to stdout (started by an agent that tells of it)."""
    import sys

    from thermograd.store.console import write_out
    from thermograd.store.errors import MissingExtraError

    with contextlib.suppress(AttributeError, OSError):  # not on every system
        os.nice(_NICEST)
    try:
        from thermograd.analysis.report.moment import moment_png
    except MissingExtraError:
        sys.exit(_NO_EXTRA)
    write_out(moment_png(run_dir, json.load(sys.stdin)))
