"""The commands of the store, but for `query`: runs tag export verify seal clocks ship compact cache."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from thermograd.store.console import (
    PATH,
    answer,
    echo,
    echo_json,
    fitting,
    format_option,
    json_option,
    leave_at_once,
    run_argument,
    say,
    waiting_told,
)
from thermograd.store.errors import PlaceError

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run


@click.command(name="runs")
@click.option("--sort", default="started", show_default=True, help="A column; -COLUMN: largest first.")
@click.option("--where", metavar="SQL", help='A condition over the view runs, e.g. "loss < 2".')
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; as often as wanted.")
@click.option(
    "--prune-older-than", "age", help="Show which runs are older, e.g. 30d; with --yes delete them."
)
@click.option(
    "--limit",
    "most",
    default=200,
    show_default=True,
    type=click.IntRange(0),
    help="Rows shown; 0: all.",
)
@click.option("--yes", is_flag=True, help="With --prune-older-than: delete. Live runs are never deleted.")
@json_option
@click.pass_obj
def list_all_runs(
    runs: Path,
    sort: str,
    where: str | None,
    tags: tuple[str, ...],
    age: str | None,
    yes: bool,
    most: int,
    as_json: bool,
) -> None:
    """List the runs, oldest first; as a table the newest ones.

    Example: thermograd runs --where "loss < 2" --sort -duration_s --tag baseline
    """
    if age is not None:
        if where or tags:
            raise click.UsageError("--prune-older-than chooses by age alone, not by --where or --tag.")
        _prune(runs, age, yes, as_json)
        return
    if yes:
        raise click.UsageError("--yes is for --prune-older-than.")
    _list(runs, sort, where, tags, most, as_json)
    leave_at_once()


def _list(runs: Path, sort: str, where: str | None, tags: tuple[str, ...], most: int, as_json: bool) -> None:
    from thermograd.store.places.place import is_url, place_of, uncatalogued_folder
    from thermograd.store.runs.catalogue import list_runs
    from thermograd.store.runs.kept.rows import rows_of
    from thermograd.store.runs.table import age_line, runs_table, sorted_rows, tagged
    from thermograd.store.telling.quantities import counted

    folder, shown = uncatalogued_folder(runs), place_of(runs).url
    if folder is None:
        from thermograd.store.places.known import fetched

        folder = fetched(runs, {"run"})
    every = list_runs(folder)
    found = fitting(tagged(every, tags), where)
    is_by_age = sort == "started"
    is_cut = not as_json and 0 < most < len(found)
    rows = rows_of(found[-most:] if is_cut and is_by_age else found)
    try:
        rows = sorted_rows(rows, sort)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--sort") from error
    if rows or as_json:
        answer(rows[:most] if is_cut else rows, as_json, runs_table)
        if not as_json and (line := age_line(found)):
            echo(line, err=True)
        if is_cut:
            which = "older" if is_by_age else "after these"
            echo(f"{len(found) - most:,} more, {which}; --limit 0 shows all.", err=True)
    elif every:
        echo(f"None of {counted(len(every), 'run')} in {shown} fits.", err=True)
    else:
        missing = "" if folder.is_dir() else " (there is no such directory)"
        advice = f"Ship one: thermograd ship RUN {shown}" if is_url(runs) else "Try: thermograd demo"
        echo(f"No run in {shown} yet{'' if is_url(runs) else missing}. {advice}", err=True)


@click.command()
@run_argument()
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; as often as wanted.")
@click.option("--note", help="Add a note, with the time.")
@json_option
def tag(run: "Run", tags: tuple[str, ...], remove: tuple[str, ...], note: str | None, as_json: bool) -> None:
    """Give a run tags and a note, or show those that it has.

    Example: thermograd tag latest baseline --note "first with the new cooling"
    """
    from dataclasses import asdict

    from thermograd.store.runs.at_places.shared import share_tags
    from thermograd.store.runs.tags import change_tags, read_tags, tags_text

    try:
        changes = bool(tags or remove or note is not None)
        now = change_tags(run.path, tags, remove, note) if changes else read_tags(run.path)
        if changes:
            share_tags(run, now)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    answer({"run_id": run.run_id} | asdict(now), as_json, tags_text)


def _prune(runs: Path, age: str, delete: bool, as_json: bool) -> None:
    from thermograd.store.errors import LogError
    from thermograd.store.places.place import folder_of
    from thermograd.store.runs.retention import parse_age, prune

    folder = folder_of(runs)
    if folder is None:
        raise LogError("runs at a URL are deleted by rules of the object store, not by --prune-older-than")
    try:
        pruned = prune(folder, parse_age(age), delete)
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
@format_option(
    *("grad_norm_log", "csv", "parquet", "perfetto", "influx", "tensorboard", "wandb", "mlflow", "trackio"),
    required=True,
)
@click.option("-o", "--output", type=PATH, required=True, help="File or directory.")
def export(run: "Run", output_format: str, output: Path) -> None:
    """Write a run's events for other tools.

    As tables; as a trace that Perfetto's page shows; as InfluxDB's line protocol; or as a run of
    TensorBoard, W&B (offline), MLflow or Trackio, by the library of each, which has to be installed.

    Example: thermograd export latest --format perfetto -o trace.json
    """
    from thermograd.store.runs.export import export_run, how_to_look

    for path in export_run(run, output_format, output):
        echo(path)
    if look := how_to_look(output_format, output):
        say(f"Look at it: {look}")


@click.command()
@run_argument()
@json_option
def verify(run: "Run", as_json: bool) -> None:
    """Read every file of a run with its checksums and say what is whole.

    Exit code 1: a file is damaged, lies in quarantine, or lacks events that were written. What a full disk
    kept from being written is no damage; its writers counted it. At a URL also: what its shippers say they
    have brought is there, with the checksum that it had.

    Example: thermograd verify latest
    """
    from thermograd.store.runs.at_places.shared import verified
    from thermograd.store.runs.describe import describe_verification, outside_the_log

    result = verified(run) | outside_the_log(run)
    answer(result, as_json, describe_verification)
    if not result["ok"]:
        sys.exit(1)


@click.command()
@run_argument()
@json_option
def clocks(run: "Run", as_json: bool) -> None:
    """Say how far the clocks of a run's hosts are apart, by the ends of steps that all ranks share.

    Example: thermograd clocks latest
    """
    from thermograd.store.clocks.hosts import run_clocks
    from thermograd.store.clocks.telling import clocks_shown, describe_clocks

    answer(clocks_shown(run_clocks(run)), as_json, describe_clocks)


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
        healed = damage.offset is None
        then = "; all was sealed" if healed else f" at byte {damage.offset}; kept in quarantine"
        echo(f"{damage.path.name}: {damage.reason}{then}", err=True)
    if result.busy:
        echo("Another process is sealing this run just now.", err=True)
    elif not result.files:
        echo(_nothing_to_seal(run), err=True)


def _nothing_to_seal(run: "Run") -> str:
    if not run.live_writers():
        return "Nothing to seal."
    return "Nothing to seal yet: the run is live; what is being written to is sealed when it is full."


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [URL]")
@click.option("--all", "every", is_flag=True, help="Every run here, and what is kept here for the URL.")
@json_option
@click.pass_obj
def ship(runs: Path, words: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Ship a run that lies here to a URL: what is not there yet. May be repeated.

    A run that was recorded with --runs URL is shipped by its agent; this finishes what that has left, and
    then needs no URL. Also for runs that were never meant to go anywhere.

    Example: thermograd ship latest s3://bucket/runs
    """
    from thermograd.store.places.place import fault_of, is_url
    from thermograd.store.shipping.by_hand import choose, ship_each, summary, to_json

    if len(words) > 1 and (fault := fault_of(words[-1])):
        raise PlaceError(fault)
    url = words[-1] if words and is_url(words[-1]) else None
    named = words[:-1] if url else words
    if len(named) != (0 if every else 1):
        raise click.UsageError(
            "give one RUN and a URL, or --all and a URL: thermograd ship RUN s3://bucket/runs"
        )
    results = []
    for result in ship_each(choose(runs, named[0] if named else None, url), say):
        results.append(result)
        if not as_json and not (every and result.is_nothing):
            echo(result.sentence())
    if as_json:
        echo_json(to_json(results))
    total = summary(results)
    if not as_json:
        echo(total)


@click.command()
@click.argument("place", required=False)
@click.option(
    "--least", default=50, show_default=True, type=click.IntRange(1), help="Runs whose events make a file."
)
@json_option
@click.pass_obj
def compact(runs: Path, place: str | None, least: int, as_json: bool) -> None:
    """Fold what is told of all runs into one file, and the events of those that have ended into few.

    PLACE is a folder or URL of runs, by default that of --runs. Repeat it, from a scheduler, say: what has
    not changed stays. Answers are the same with it and without, only faster.

    Example: thermograd compact s3://team/runs
    """
    from thermograd.store.runs.at_places.compaction import compact as fold

    with waiting_told():
        done = fold(runs if place is None else place, least)
    answer(done, as_json, type(done).sentence)


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything in it.")
@json_option
def cache(clear: bool, as_json: bool) -> None:
    """Show what of runs at URLs is kept on this disk, or remove it.

    It lies in $THERMOGRAD_CACHE, takes at most $THERMOGRAD_CACHE_GB (20), and what was used longest ago goes
    first. Beside it, small, lies what commands have found in runs here, to be the faster the next time.

    Example: thermograd cache --clear
    """
    from thermograd.store.places.cache import cache_shown, cache_text, clear as clear_cache

    freed = {"freed_bytes": clear_cache()} if clear else {}
    answer(cache_shown() | freed, as_json, cache_text)
