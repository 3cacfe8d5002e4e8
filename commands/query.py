"""The command `query`."""

import contextlib
import functools
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from thermograd.store.console import (
    PATH,
    FiniteRange,
    format_option,
    json_option,
    leave_at_once,
    waiting_told,
    write_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_SHORT_SQL = 1000  # characters; what is longer may be nested so deeply that it takes its process down


@click.command()
@click.argument("sql")
@format_option("table", "csv", "json", "parquet", "arrow", default="table", show_default=True)
@click.option("-o", "--output", type=PATH, help="Write to a file instead of stdout.")
@click.option("--timeout", "timeout_s", type=FiniteRange(0.01, 1e6), help="End after this many seconds.")
@click.option(
    "--memory",
    "memory_gb",
    type=FiniteRange(0.4, 1e6),
    help="GB that the query may take; default 1 with --timeout or --untrusted, else no limit.",
)
@click.option("--untrusted", is_flag=True, help="For SQL from others: limits of time, memory and the answer.")
@json_option
@click.pass_obj
def query(
    runs: Path,
    sql: str,
    output_format: str,
    output: Path | None,
    timeout_s: float | None,
    memory_gb: float | None,
    untrusted: bool,
    as_json: bool,
) -> None:
    """Answer one SELECT over all runs: runs, steps, samples, aligned, throttling, ...

    Example: thermograd query "SELECT run_id, count(*), max(grad_norm) FROM steps GROUP BY ALL"
    """
    output_format = "json" if as_json else output_format
    if (
        output is None
        and timeout_s is None
        and memory_gb is None
        and not untrusted
        and len(sql) <= _SHORT_SQL
    ):
        _answer_here(sql, runs, output_format)
        return
    from dataclasses import replace

    from thermograd.store.query.interrupt import ended_after, ending_as_a_shell_expects
    from thermograd.store.query.sandbox import FOR_STRANGERS, Limits, answer as answer_sql

    limits = FOR_STRANGERS if untrusted else Limits(memory_gb=None if timeout_s is None else 1.0)
    limits = replace(limits, timeout_s=timeout_s or limits.timeout_s, memory_gb=memory_gb or limits.memory_gb)
    ask = functools.partial(answer_sql, sql, runs, output_format, limits)
    with ending_as_a_shell_expects():
        if output is not None:
            _save_answer(ask, output)
            return
        with ended_after(limits.timeout_s):  # also where nobody reads what is printed
            _print_answer(ask, output_format)


def _answer_here(sql: str, runs: Path, output_format: str) -> None:
    """Print the answer of a query that has no limits, computed in this process, which Ctrl-C ends at once."""
    from thermograd.store.query.here import answer_here
    from thermograd.store.query.interrupt import ended_by_ctrl_c

    with ended_by_ctrl_c():
        _print_answer(functools.partial(answer_here, sql, runs, output_format), output_format)
    leave_at_once()


def _print_answer(ask: "Callable[..., Generator[bytes]]", output_format: str) -> None:
    from codecs import getincrementaldecoder

    from thermograd.store.errors import QueryError
    from thermograd.store.text import printable_lines

    is_terminal = sys.stdout.isatty()
    if is_terminal and output_format in ("parquet", "arrow"):
        raise QueryError(f"{output_format} is binary; give a file with -o")
    decode = getincrementaldecoder("utf-8")("replace").decode
    with contextlib.closing(ask()) as parts:
        with waiting_told():
            first = next(parts, b"")
        for part in itertools.chain([first], parts):
            write_out(printable_lines(decode(part)).encode() if is_terminal else part)


def _save_answer(ask: "Callable[..., Generator[bytes]]", output: Path, checked: bool = False) -> None:
    """Write an answer to a file, whole or not at all; begin again where it breaks off at a damaged file."""
    from thermograd.store.errors import DamagedError, QueryError, os_errors_as
    from thermograd.store.files import whole_file

    try:
        with (
            os_errors_as(QueryError, f"cannot write {output}"),
            whole_file(output) as file,
            contextlib.closing(ask(checked=checked)) as parts,
            waiting_told(),
        ):
            for part in parts:
                file.write(part)
    except DamagedError:
        if checked:
            raise
        _save_answer(ask, output, checked=True)
