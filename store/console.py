"""What every command shares: errors as one sentence, results as JSON or text, the run that RUN names.

Importing this module, or a room's `commands`, costs click and nothing else: what a command calls is
imported when it is called.
"""

import contextlib
import functools
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run

_WRITTEN_AT_ONCE = 1 << 20
_LONGEST_ERROR = 2000  # characters
_ERASED = "\x1b[K"  # to the end of the terminal's line

PATH = click.Path(path_type=Path)


class FiniteRange(click.FloatRange):
    """A range of numbers; unlike click's own it holds neither NaN nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or end with what is wrong with it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
hz_option = click.option(
    "--hz", default=5.0, show_default=True, type=FiniteRange(0.1, 10), help="Samples per s."
)


def format_option(*allowed: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--format``; the command gets it as `output_format`."""
    return click.option("--format", "output_format", type=click.Choice(allowed), **options)


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is asked for; what each does in short is known before.

    Parameters
    ----------
    places
        Of each command ``module:name``, and the first sentence of its help; None where it is hidden.
    """

    def __init__(self, places: Mapping[str, tuple[str, str | None]]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            from importlib import import_module

            module, _, attribute = self._places[name][0].partition(":")
            self._loaded[name] = getattr(import_module(module), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        self[name]
        self._places.pop(name, None)
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._loaded]))

    def __len__(self) -> int:
        return len(self._places.keys() | self._loaded.keys())

    def shown(self) -> list[tuple[str, str]]:
        """Return name and first sentence of the commands that are not hidden, by name; none is imported."""
        return sorted((name, text) for name, (_, text) in self._places.items() if text is not None)


_leaving = threading.Event()


def leave_at_once() -> None:
    """Let the process, where it is that of the command line, end without taking Python down piece by piece.

    For a command that has printed everything and has nothing else to close: a third of its time is saved.
    """
    _leaving.set()


class Group(click.Group):
    """Turns thermograd's own errors into one sentence and exit code 1; its commands may be lazy."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run the command line as click does; where no program gives `args`, the process is its own."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # the caller closed it: what is said there is for nobody
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open
        try:
            return super().main(args, *rest, **options)
        except SystemExit as end:
            if args is None and _leaving.is_set() and isinstance(end.code, int):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code)
            raise
        except OSError as error:
            if args is not None or not _was_printing(error):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody
            sys.exit(f"Error: cannot write to standard output: {error.strerror or error}")

    def get_help(self, ctx: click.Context) -> str:
        """Return the help as click does; it asks for the width by what takes a tenth of the time."""
        if ctx.terminal_width is None and click.formatting.FORCED_WIDTH is None:
            ctx.terminal_width = max(min(_columns(), ctx.max_content_width or 80) - 2, 50)
        return super().get_help(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands as click does, by what is known of them without importing any."""
        if not isinstance(self.commands, LazyCommands):
            super().format_commands(ctx, formatter)
            return
        shown = self.commands.shown()
        most = formatter.width - 6 - max(len(name) for name, _ in shown)
        commands = [(name, click.Command(name, help=text).get_short_help_str(most)) for name, text in shown]
        with formatter.section("Commands"):
            formatter.write_dl(commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command as click does."""
        from thermograd.store.errors import ThermogradError
        from thermograd.store.text import printable_lines, shortened

        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            name = error.option_name
            if any(name in parameter.opts for parameter in self.get_params(ctx)):
                before = f"{ctx.info_name} {name} ... COMMAND"
                text = f"No such option: {name} here; it stands before the command: {before}"
                raise click.UsageError(text, error.ctx) from error
            raise
        except ThermogradError as error:
            text = printable_lines(shortened(str(error), _LONGEST_ERROR))
            raise click.ClickException(text) from error


def _was_printing(error: OSError) -> bool:
    """Return whether click itself, which prints a help or a version, could not."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "click.utils"


def _columns() -> int:
    """Return the terminal's width as `shutil.get_terminal_size` does."""
    try:
        told = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        told = 0
    if told > 0:
        return told
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # closed, none, or no terminal
        return 80


class CommandAfterDashes(click.Command):
    """Takes a COMMAND after ``--``, all of whose words are its own; or else arguments.

    Where there is no ``--``, what stands after the first argument belongs to that, as to a command, unless
    one of the options in `plain` is given: then options may stand anywhere.
    """

    plain: frozenset[str] | None = frozenset()  # None: options may stand anywhere without --

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before ``--``; `command_after_dashes` gives the rest."""
        place = args.index("--") if "--" in args else None
        ctx.meta[_AFTER_DASHES] = None if place is None else tuple(args[place + 1 :])
        own = args[:place]
        ctx.allow_interspersed_args = (
            place is not None or self.plain is None or not self.plain.isdisjoint(own)
        )
        return super().parse_args(ctx, own)


_AFTER_DASHES = "thermograd.after_dashes"


def decorated(command: Callable[..., Any], options: Sequence[Any]) -> Callable[..., Any]:
    """Give a command options and arguments, in the order in which its help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def command_after_dashes() -> tuple[str, ...] | None:
    """Return the words after ``--`` of the command line; None where there is no ``--``."""
    words: tuple[str, ...] | None = click.get_current_context().meta.get(_AFTER_DASHES)
    return words


def echo(text: object, err: bool = False) -> None:
    """Print text that may hold what strangers wrote."""
    from thermograd.store.text import printable_lines

    if err:
        click.echo(printable_lines(str(text)), err=True)
    else:
        write_out(_encoded(printable_lines(str(text))))


def say(text: str) -> None:
    """Tell a person something on stderr, as from thermograd."""
    echo(f"thermograd: {text.removeprefix('thermograd ')}", err=True)


def echo_json(value: Any) -> None:
    """Print one JSON document; numbers that are not finite are null."""
    echo_json_text(json_text(value))


def json_text(value: Any) -> str:
    """Return one JSON document, as `echo_json` prints it."""
    import json

    from thermograd.store.text import without_nan

    return json.dumps(without_nan(value), indent=2, default=_jsonable, allow_nan=False)


def echo_json_text(text: str) -> None:
    """Print a document that `json_text` has returned."""
    write_out(_encoded(text))


def _jsonable(value: Any) -> Any:
    """Return what JSON has no type for by its own `to_json` where it has one, else as text."""
    return value.to_json() if hasattr(value, "to_json") else str(value)


def _encoded(text: str) -> bytes:
    """Return a text and a line's end as Python's own stdout writes them."""
    lines = f"{text}\n".replace("\n", os.linesep)
    return lines.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")


def write_out(data: bytes) -> None:
    """Write all of the bytes to stdout, however few it takes at once.

    Raises ThermogradError where it takes no more, and BrokenPipeError, which click ends quietly, where
    nobody reads it.
    """
    from thermograd.store.errors import ThermogradError

    sys.stdout.flush()
    stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    rest = memoryview(data)
    try:
        while rest:
            taken = stream.write(rest[:_WRITTEN_AT_ONCE])
            if taken is None:  # a pipe that somebody else has set not to wait
                import select

                select.select([], [stream], [])
            rest = rest[taken or 0 :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ThermogradError(f"cannot write to standard output: {error.strerror or error}") from error


@contextlib.contextmanager
def waiting_told(after_s: float = 2.0) -> Iterator[None]:
    """Tell on stderr, where that is a terminal, how long the block is taking, once it takes long."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    clock = threading.Thread(target=_tell_waiting, args=(over, after_s), daemon=True)
    clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()


def _tell_waiting(over: threading.Event, after_s: float) -> None:
    begun = time.monotonic()
    told = over.wait(after_s)
    while not told:
        sys.stderr.write(f"\r{_ERASED}{time.monotonic() - begun:.0f} s so far; Ctrl-C ends it")
        sys.stderr.flush()
        if over.wait(1.0):
            sys.stderr.write(f"\r{_ERASED}")
            sys.stderr.flush()
            told = True


@contextlib.contextmanager
def training_bar(steps: int) -> Iterator[tuple[Callable[[int, dict[str, Any]], None], Callable[[str], None]]]:
    """Show a bar on stderr; give what takes each step with its logs, and lines to print above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    loss = TextColumn("mean loss {task.fields[loss]}")  # of the steps since the Trainer last logged
    columns = (TextColumn("Training"), BarColumn(), MofNCompleteColumn(), loss, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps, loss="-")

        def on_step(step: int, logs: dict[str, Any]) -> None:
            loss = logs.get("loss")
            bar.update(task, completed=step, loss="-" if loss is None else f"{loss:.3f}")

        yield on_step, functools.partial(bar.console.print, markup=False, highlight=False, soft_wrap=True)


def answer(result: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result as JSON, by its own `to_json` where it has one, or as the text of a function."""
    if as_json:
        echo_json(result.to_json() if hasattr(result, "to_json") else result)
    else:
        echo(text(result))


def run_argument(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the argument RUN; the command gets the run, or the list of them, that it names; None for none."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("run", **options)
        @functools.wraps(command)
        def with_run(*args: Any, run: str | tuple[str, ...] | None, **rest: Any) -> Any:
            found = [*map(find, run)] if isinstance(run, tuple) else run if run is None else find(run)
            return command(*args, run=found, **rest)

        return with_run

    return add


def find(reference: str) -> Any:
    """Return the run of ``--runs`` that a reference names."""
    from thermograd.store.runs.catalogue import find_run

    return find_run(click.get_current_context().obj, reference)


def fitting(runs: "Sequence[Run]", where: str | None) -> "list[Run]":
    """Return the runs for which a condition over the columns of the view ``runs`` holds; None: all.

    Raises QueryError if the condition is none.
    """
    if where is None:
        return list(runs)
    from thermograd.store.errors import QueryError
    from thermograd.store.query.connection import query

    try:
        found = query(f"SELECT run_id FROM runs WHERE (\n{where}\n)", runs)
    except QueryError as error:
        raise QueryError(f"--where: {re.sub(r'LINE 2: ', '', str(error))}") from error
    ids = set(found["run_id"].to_pylist())
    return [run for run in runs if run.run_id in ids]
