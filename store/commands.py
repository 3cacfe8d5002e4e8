"""The commands of the store: query runs show export verify seal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from thermograd.store.console import PATH, answer, echo, echo_json, format_option, json_option, run_argument

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run


@click.command(name="runs")
@click.option(
    "--prune-older-than", "age", help="Show which runs are older, e.g. 30d; with --yes delete them."
)
@click.option("--yes", is_flag=True, help="With --prune-older-than: delete. Live runs are never deleted.")
@json_option
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
    if rows or as_json:
        answer(rows, as_json, runs_table)
    else:
        echo(f"No run in {runs} yet. Try: thermograd demo", err=True)


def _prune(runs: Path, age: str, delete: bool, as_json: bool) -> None:
    from thermograd.store.runs.retention import parse_age, prune

    try:
        pruned = prune(runs, parse_age(age), delete)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--prune-older-than") from error
    if as_json:
        echo_json([entry.to_json() for entry in pruned])
        return
    entry = None
    for entry in pruned:
        echo(entry.sentence())
    if entry is None:
        echo(f"No run in {runs} is older than {age}.", err=True)
    elif not delete:
        echo("Nothing was deleted; add --yes to do it.", err=True)


@click.command()
@run_argument()
@json_option
def show(run: "Run", as_json: bool) -> None:
    """Show one run: facts, devices, gaps and alerts.

    Example: thermograd show latest
    """
    from thermograd.store.runs.describe import describe_run, run_facts_shown

    answer(run_facts_shown(run), as_json, describe_run)


@click.command()
@click.argument("sql")
@format_option("table", "csv", "json", "parquet", "arrow", default="table", show_default=True)
@click.option("-o", "--output", type=PATH, help="Write to a file instead of stdout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.01), help="Stop after this many seconds.")
@click.option("--untrusted", is_flag=True, help="Answer in a child process with limits: SQL from others.")
@json_option
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
        from thermograd.store.query.result_formats import encoded_table, write_result

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
        import signal

        with ended_by_ctrl_c():
            signal.raise_signal(signal.SIGINT)


@click.command()
@run_argument()
@format_option("grad_norm_log", "csv", "parquet", required=True)
@click.option("-o", "--output", type=PATH, required=True, help="File or directory.")
def export(run: "Run", output_format: str, output: Path) -> None:
    """Write a run's events for other tools.

    Example: thermograd export latest --format grad_norm_log -o grad_norm_log.json
    """
    from thermograd.store.runs.export import export_run

    for path in export_run(run, output_format, output):
        echo(path)


@click.command()
@run_argument()
@json_option
def verify(run: "Run", as_json: bool) -> None:
    """Read every file of a run with its checksums and say what is whole.

    Example: thermograd verify latest
    """
    from thermograd.store.log.seal import verify_run
    from thermograd.store.runs.describe import describe_verification

    result = verify_run(run.path)
    answer(result, as_json, describe_verification)
    if not result["ok"]:
        sys.exit(1)


@click.command()
@run_argument()
def seal(run: "Run") -> None:
    """Turn a run's live segments into Parquet; of a live run only what is complete.

    Example: thermograd seal latest
    """
    from thermograd.store.log.seal import seal_run

    result = seal_run(run.path, run.run_id, run.live_writers())
    for path in result.files:
        echo(path)
    for damage in result.damage:
        text = f"{damage.path.name}: {damage.reason} at byte {damage.offset}; kept in quarantine"
        echo(text, err=True)
    if result.busy:
        echo("Another process is sealing this run just now.", err=True)
    elif not result.files:
        echo("Nothing to seal.", err=True)


COMMANDS = (list_all_runs, show, query, export, verify, seal)
