"""What commands do with all runs instead of one: ``analyze --all``, ``compare --all``, ``publish``."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thermograd.store.console import PATH, answer, echo, fitting, json_option

if TYPE_CHECKING:
    from thermograd.store.runs.catalogue import Run


@dataclass(frozen=True, slots=True)
class Fleet:
    """Which runs all runs are, where the work is done, and what they are grouped by."""

    every: bool
    where: str | None
    tags: tuple[str, ...]
    engine: str
    address: str | None
    by: str
    output: Path | None
    runs_dir: Path

    def asked_for(self, run: "Run | list[Run] | None") -> bool:
        """Return whether all runs are meant; a usage error where both are given, or neither."""
        if self.every and run:
            raise click.UsageError("Give RUN or --all, not both.")
        if not self.every and not run:
            raise click.UsageError("Missing argument 'RUN' (or --all for all runs).")
        if not self.every and (self.where or self.tags or self.address):
            raise click.UsageError("--where, --tag, --engine and --address are for --all.")
        return self.every

    def refuse(self, **given: Any) -> None:
        """End with a usage error where an option was given that is for single runs."""
        for name, value in given.items():
            if value:
                option = name.removesuffix("_s").replace("_", "-")
                raise click.UsageError(f"--{option} is for single runs, not for --all.")

    def analyze(self, x: str | None, y: str | None, max_lag_s: float, as_json: bool) -> None:
        """Analyse the runs, write the findings, and say what they show."""
        from thermograd.analysis.fleet.analyze import analyze_fleet
        from thermograd.analysis.fleet.question import HARDWARE, TRAINING, Question
        from thermograd.analysis.report.text.fleet import describe_fleet
        from thermograd.store.places.known import local_runs

        question = Question(
            x=(x,) if x else TRAINING, y=(y,) if y else HARDWARE, max_lag_s=max_lag_s, events=not (x or y)
        )
        with _progress("Analysing") as told:
            found = analyze_fleet(
                self._runs(),
                question,
                engine=self.engine,  # type: ignore[arg-type]
                address=self.address,
                by=self.by,  # type: ignore[arg-type]
                write_to=local_runs(self.runs_dir),
                progress=told,
            )
        self._give(found, as_json, functools.partial(describe_fleet, runs=_given(self.runs_dir)))

    def compare(self, as_json: bool) -> None:
        """Put groups of runs side by side."""
        from thermograd.analysis.fleet.groups import compare_groups
        from thermograd.analysis.report.text.fleet_groups import describe_groups

        with _progress("Reading") as told:
            found = compare_groups(
                self._runs(),
                self.by,
                engine=self.engine,  # type: ignore[arg-type]
                address=self.address,
                progress=told,
            )
        self._give(found, as_json, describe_groups)

    def devices(self, by: str | None, as_json: bool) -> None:
        """Say which device, host or label has more trouble than its peers."""
        from thermograd.analysis.fleet.devices.survey import survey_runs
        from thermograd.analysis.fleet.devices.telling import describe_survey

        with _progress("Counting") as told:
            try:
                found = survey_runs(self._runs(), by, self.engine, self.address, told)  # type: ignore[arg-type]
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--by") from error
        answer(found, as_json, describe_survey)
        if self.output is not None:
            from thermograd.analysis.report.devices_report import write_survey

            for path in write_survey(found, self.output):
                echo(path, err=as_json)

    def _runs(self) -> "list[Run]":
        return _chosen(self.runs_dir, self.tags, self.where)

    def _give(self, found: Any, as_json: bool, text: Callable[[Any], str]) -> None:
        answer(found, as_json, text)
        if self.output is not None:
            from thermograd.analysis.report.fleet_files import write_fleet

            for path in write_fleet(found, text(found), self.output):
                echo(path, err=as_json)


def _given(runs_dir: Path) -> str:
    """Return the place of runs that was asked for; nothing where it is the default."""
    from thermograd.store.runs.catalogue import default_runs_dir
    from thermograd.store.secrets import without_secrets

    return "" if runs_dir == default_runs_dir() else without_secrets(str(runs_dir))


def _chosen(runs_dir: Path, tags: tuple[str, ...], where: str | None) -> "list[Run]":
    from thermograd.store.errors import NotEnoughDataError
    from thermograd.store.runs.catalogue import list_runs
    from thermograd.store.runs.table import tagged

    every = list_runs(runs_dir)
    chosen = fitting(tagged(every, tags), where)
    if not chosen:
        none = f"none of {len(every)} runs in {runs_dir} fits" if every else f"there is no run in {runs_dir}"
        raise NotEnoughDataError(f"{none}; --runs names another directory")
    return chosen


def fleet_options(
    *groupings: str, help_output: str = "With --all: directory for the summary and its numbers."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --all and what goes with it; the command gets a `Fleet`."""
    by = click.option(
        "--by", default=groupings[0], show_default=True, help=f"With --all, groups: {', '.join(groupings)}."
    )
    options = (
        click.option(
            "--all", "every", is_flag=True, help="All runs, or those that --where and --tag choose."
        ),
        click.option("--where", metavar="SQL", help='A condition over the view runs, e.g. "loss < 2".'),
        click.option("--tag", "tags", multiple=True, help="Only runs with this tag; as often as wanted."),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray", "dask"]),
            default="local",
            show_default=True,
            help="Where the work is done.",
        ),
        click.option("--address", help="Of a Ray or Dask cluster; default one on this machine."),
        by,
        click.option("-o", "--output", type=PATH, help=help_output),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_fleet(*args: Any, every: bool, where: str | None, tags: tuple[str, ...], **rest: Any) -> Any:
            own = {name: rest.pop(name) for name in ("engine", "address", "by", "output")}
            _check(own["by"], groupings)
            fleet = Fleet(every, where, tags, runs_dir=click.get_current_context().obj, **own)
            return command(*args, fleet=fleet, **rest)

        for option in reversed(options):
            with_fleet = option(with_fleet)
        return with_fleet

    return add


def _check(by: str, groupings: tuple[str, ...]) -> None:
    is_key = "config.KEY" in groupings and by.startswith("config.") and by != "config."
    if by not in groupings and not is_key:
        raise click.BadParameter(f"{by!r}; allowed: {', '.join(groupings)}", param_hint="--by")


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr where that is a terminal, and a line at the end where it is not."""
    from thermograd.store.telling.quantities import counted

    if not sys.stderr.isatty():
        last = [0, 0]

        def tell(done: int, of: int) -> None:
            last[:] = done, of

        yield tell
        echo(f"{what}: {last[0]} of {counted(last[1], 'run')} done", err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@click.command()
@click.option("--delta", metavar="URL", help="Delta tables below a directory or s3://, gs://, az:// address.")
@click.option("--iceberg", metavar="PATH", type=PATH, help="Iceberg tables in a directory.")
@click.option("--where", metavar="SQL", help='A condition over the view runs, e.g. "steps > 100".')
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; as often as wanted.")
@json_option
@click.pass_obj
def publish(
    runs: Path,
    delta: str | None,
    iceberg: Path | None,
    where: str | None,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Commit the events of ended runs and the findings to tables for Spark, Trino, Polars, DuckDB.

    Each run is there once, however often this is repeated, killed, or done by others at the same time.

    Example: thermograd publish --delta s3://team/thermograd
    """
    from thermograd.analysis.fleet.publishing.delta import DeltaTables
    from thermograd.analysis.fleet.publishing.iceberg import IcebergTables
    from thermograd.analysis.fleet.publishing.publish import Target, publish as publish_tables
    from thermograd.analysis.fleet.publishing.tables import outcomes_text, published_tables
    from thermograd.store.places.known import fetched
    from thermograd.store.runs.catalogue import fetched_runs

    if (delta is None) == (iceberg is None):
        raise click.UsageError("Give one of --delta and --iceberg.")
    target: Target = IcebergTables(iceberg) if iceberg is not None else DeltaTables(delta or "")
    chosen = fetched_runs(_chosen(runs, tags, where))
    tables, live = published_tables(chosen, fetched(runs, ["findings"]))
    if live:
        echo(f"Left out, for they have not ended: {', '.join(live)}", err=True)
    answer([*publish_tables(tables, target)], as_json, outcomes_text)
