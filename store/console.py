"""What every command shares: errors as one sentence, results as JSON or text, the run that RUN names.

Importing this module, or a room's `commands`, costs click and nothing else: what a command calls is
imported when it is called.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
hz_option = click.option(
    "--hz", default=5.0, show_default=True, type=click.FloatRange(0.1, 10), help="Samples per s."
)


def format_option(*allowed: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--format``; the command gets it as `output_format`."""
    return click.option("--format", "output_format", type=click.Choice(allowed), **options)


class Group(click.Group):
    """Turns thermograd's own errors into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command as click does."""
        from thermograd.store.errors import ThermogradError
        from thermograd.store.text import printable_lines

        try:
            return super().invoke(ctx)
        except ThermogradError as error:
            raise click.ClickException(printable_lines(str(error))) from error


def echo(text: object, err: bool = False) -> None:
    """Print text that may hold what strangers wrote."""
    from thermograd.store.text import printable_lines

    click.echo(printable_lines(str(text)), err=err)


def echo_json(value: Any) -> None:
    """Print one JSON document; numbers that are not finite are null."""
    import json

    from thermograd.store.text import without_nan

    click.echo(json.dumps(without_nan(value), indent=2, default=str, allow_nan=False))


def answer(result: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result as JSON, by its own `to_json` where it has one, or as the text of a function."""
    if as_json:
        echo_json(result.to_json() if hasattr(result, "to_json") else result)
    else:
        echo(text(result))


def run_argument(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the argument RUN; the command gets the run, or the list of them, that it names."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("run", **options)
        @functools.wraps(command)
        def with_run(*args: Any, run: str | tuple[str, ...], **rest: Any) -> Any:
            return command(*args, run=find(run) if isinstance(run, str) else [*map(find, run)], **rest)

        return with_run

    return add


def find(reference: str) -> Any:
    """Return the run of ``--runs`` that a reference names."""
    from thermograd.store.runs.catalogue import find_run

    return find_run(click.get_current_context().obj, reference)
