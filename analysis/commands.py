"""The commands of analysis: analyze calibrate report compare devices population."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thermograd.analysis.figure_options import panels_option, style_option
from thermograd.analysis.fleet_commands import fleet_options
from thermograd.store.console import (
    PATH,
    FiniteRange,
    answer,
    echo,
    echo_json,
    find,
    format_option,
    json_option,
    run_argument,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thermograd.analysis.fleet_commands import Fleet
    from thermograd.analysis.report.charts.paper.style import PrintStyle
    from thermograd.store.runs.catalogue import Run


@click.command()
@run_argument(required=False)
@click.option("--x", help="Training signal; default all.")
@click.option("--y", help="Hardware signal; default all the devices have.")
@click.option("--device", help="One device; default all.")
@click.option("--method", type=click.Choice(["rxc", "pearson"]), default="rxc", show_default=True)
@click.option("--tolerance", "tolerance_s", default=1.0, show_default=True, type=FiniteRange(0, 86_400))
@click.option("--max-lag", "max_lag_s", default=12.0, show_default=True, type=FiniteRange(0, 86_400))
@click.option(
    "--control", "controls_from", metavar="RUN", multiple=True, help="A run whose hardware is a control."
)
@fleet_options("model", "device", "host", "tag", "name")
@json_option
def analyze(
    run: "Run | None", controls_from: tuple[str, ...], fleet: "Fleet", as_json: bool, **question: Any
) -> None:
    """Say whether training and hardware are coupled, how strongly, and how sure that is.

    With --all of every run, and of all together: which runs stand out after control of false discoveries,
    the pooled effects, and by group.

    Example: thermograd analyze latest --y temperature_c
    """
    if fleet.asked_for(run):
        fleet.refuse(control=controls_from, **_unusual(question, "device", "method", "tolerance_s"))
        fleet.analyze(question["x"], question["y"], question["max_lag_s"], as_json)
        return
    assert run is not None
    from thermograd.analysis.report.text.analysis import describe_analysis
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series

    controls = [load_series(find(other)) for other in controls_from]
    analysis = analyze_run(run, controls_from=controls, **question)
    answer(analysis, as_json, describe_analysis)


def _unusual(given: "Mapping[str, Any]", *names: str) -> dict[str, Any]:
    """Return those of some options that were given, None for the others."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {n: None if context.get_parameter_source(n) is default else given[n] for n in names}


@click.command()
@click.option("--runs", "count", default=200, show_default=True, type=click.IntRange(1), help="Of each kind.")
@click.option(
    "--hz",
    default=1.0,
    show_default=True,
    type=FiniteRange(0.001, 1000),
    help="Steps or samples per s, whichever is fewer.",
)
@click.option(
    "--minutes", default=10.0, show_default=True, type=FiniteRange(0.1, 10_000), help="Length of a run."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "--process", "names", multiple=True, help="Of the zoo, instead of our choice; as often as wanted."
)
@click.option("--all", "every", is_flag=True, help="Every process of the zoo.")
@click.option("--add", "added", type=PATH, help="A Python file with processes of your own (docs/zoo.md).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("calibration.html"),
    show_default=True,
    help="Where the report goes.",
)
def calibrate(
    count: int,
    hz: float,
    minutes: float,
    seed: int,
    names: tuple[str, ...],
    every: bool,
    added: Path | None,
    output: Path,
) -> None:
    """Measure false positives and power for your sampling rate and run length; Ctrl-C keeps what is done.

    Example: thermograd calibrate --minutes 30 --hz 0.5
    """
    from thermograd.analysis.calibration.calibrate import calibrate as measured
    from thermograd.analysis.calibration.zoo import ZOO, add_from
    from thermograd.analysis.report.calibration_report import (
        calibration_text,
        require_writable,
        write_calibration,
    )

    require_writable(output)

    def progress(name: str, done: int, all_of_them: int) -> None:
        echo(f"{done + 1}/{all_of_them}  {name}", err=True)

    own = [] if added is None else add_from(added)
    processes = [*ZOO] if every else [*names, *own]
    result = measured(count, hz, minutes, seed, progress, processes)
    echo(calibration_text(result))
    write_calibration(output, result)
    echo(f"Report: {output}", err=True)


@click.command()
@run_argument()
@click.option("-o", "--output", type=PATH, help="Directory, default the run's own; for md a file.")
@format_option(
    "html",
    "md",
    default="html",
    show_default=True,
    help="md: Markdown for a pull request or an issue, on stdout or in the file -o.",
)
@click.option(
    "--data",
    "data_format",
    type=click.Choice(["csv", "parquet"]),
    help="Write the points of the figures too.",
)
@click.option(
    "--card", "card_path", type=PATH, metavar="FILE", help="Write the card alone, a PNG of 1200 x 630 pixels."
)
@click.option(
    "--figures/--no-figures",
    default=True,
    help="Without: the page alone, in a second, its charts drawn by scripts only.",
)
@style_option
@panels_option
def report(
    run: "Run",
    output: Path | None,
    output_format: str,
    data_format: str | None,
    style: "PrintStyle | None",
    panels: bool,
    card_path: Path | None,
    figures: bool,
) -> None:
    """Write report.html, the figures as PNG, PDF and SVG, and analysis.json of a run.

    With --card the picture of its verdict, two panels and three facts, for a message or a preview.

    Example: thermograd report latest -o report --data csv

    Example: thermograd report latest --style paper-1col,font_size_pt=8 --panels
    """
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.series import load_series
    from thermograd.analysis.run.wording.plain_words import first_screen

    if output_format == "md" and data_format:
        raise click.UsageError("--data writes the points of the figures, which --format md does not have.")
    styled = style or panels or not figures
    if card_path is not None and (output or data_format or styled or output_format == "md"):
        raise click.UsageError("--card writes the card alone; without it the report is written.")
    if output_format == "md" and styled:
        raise click.UsageError(
            "--style, --panels and --no-figures are for figures, which --format md does not have."
        )
    if not figures and (style or panels):
        raise click.UsageError("--style and --panels are for the figures, which --no-figures leaves out.")
    series = load_series(run)
    analysis = analyze_run(run, series=series)
    if card_path is not None:
        from thermograd.analysis.report.run_card import write_card

        write_card(series, analysis, card_path)
        echo(card_path)
        return
    if output_format == "md":
        from thermograd.analysis.report.text.markdown import write_markdown

        click.echo(write_markdown(series, analysis, output), nl=output is not None)
        return
    from thermograd.analysis.report.run_report import write_report

    written = write_report(run, analysis, output, data_format, series, style, panels, figures=figures)
    for path in written.values():
        echo(path)
    echo(f"\n{first_screen(analysis).text()}", err=True)


@click.command()
@run_argument(nargs=-1)
@click.option("--x", help="Training signal of the question; default the first that the runs share.")
@click.option("--y", help="Hardware signal of the question; default the first that the runs share.")
@click.option("--max-lag", "max_lag_s", default=12.0, show_default=True, type=FiniteRange(1, 86_400))
@fleet_options(
    "tag", "model", "host", "name", "config.KEY", help_output="Directory for page, figure, numbers."
)
@style_option
@panels_option
@json_option
def compare(
    run: "list[Run]",
    x: str | None,
    y: str | None,
    max_lag_s: float,
    fleet: "Fleet",
    style: "PrintStyle | None",
    panels: bool,
    as_json: bool,
) -> None:
    """Put runs side by side: what they say together, and how alike the trainings are.

    With five different trainings or more a session swap tests whether training fits its own hardware
    better than another run's. Copies of one training count once. With --all groups of runs stand side by
    side (--by): losses, speed, power and temperature of each, and where groups differ from the largest.

    Example: thermograd compare baseline-1 baseline-2 baseline-3 baseline-4 baseline-5 -o comparison
    """
    if fleet.asked_for(run):
        fleet.refuse(x=x, y=y, style=style, panels=panels or None)
        fleet.compare(as_json)
        return
    from thermograd.analysis.comparison.compare import compare_runs
    from thermograd.analysis.report.text.comparison import describe_comparison

    if (style or panels) and fleet.output is None:
        raise click.UsageError("--style and --panels are for the figures, which -o DIR writes.")
    comparison = compare_runs(run, x, y, max_lag_s)
    paths = {}
    if fleet.output is not None:
        from thermograd.analysis.report.comparison_report import write_comparison

        paths = write_comparison(comparison, fleet.output, style, panels)
    if as_json:
        echo_json(comparison.to_json())
        return
    echo(describe_comparison(comparison))
    for path in paths.values():
        echo(path)


@click.command()
@run_argument(required=False)
@click.option("--by", metavar="LEVEL", help="device, host, or a label such as rack or switch; default all.")
@click.option("--where", metavar="SQL", help='A condition over the view runs, e.g. "steps > 100".')
@click.option("--tag", "tags", multiple=True, help="Only runs with this tag; as often as wanted.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray", "dask"]),
    default="local",
    show_default=True,
    help="Where the work is done.",
)
@click.option("--address", help="Of a Ray or Dask cluster; default one on this machine.")
@click.option("-o", "--output", type=PATH, help="Directory for a page and the numbers.")
@json_option
@click.pass_obj
def devices(runs: Path, /, run: "Run | None", by: str | None, as_json: bool, **where: Any) -> None:
    """Say which GPU, host, rack or switch has more trouble than its peers, or that none has.

    Counted over all runs: spikes, non-finite norms, slow steps, throttling, memory errors, holes in the
    readings. Compared given exposure, between runs of one model and, for a GPU, on one host.

    With RUN: which rank or device of this one job stands out against the others.

    Example: thermograd devices --by host
    """
    if run is not None:
        from thermograd.analysis.fleet.devices.one_job import one_job, one_job_text

        if by or where["where"] or where["tags"] or where["address"] or where["output"]:
            raise click.UsageError("--by, --where, --tag, --address and -o are for all runs, not for RUN.")
        answer(one_job(run), as_json, one_job_text)
        return
    from thermograd.analysis.fleet_commands import Fleet

    Fleet(every=True, by="", runs_dir=runs, **where).devices(by, as_json)


@click.command()
@click.argument("run", required=False)
@click.option("--device", help="One device; default all.")
@click.option("--with", "other", type=PATH, metavar="FILE", help="Compare with an exported file instead.")
@click.option(
    "--export", "exported", type=PATH, metavar="FILE", help="Write anonymous summaries of all runs."
)
@json_option
@click.pass_obj
def population(
    runs: Path, run: str | None, device: str | None, other: Path | None, exported: Path | None, as_json: bool
) -> None:
    """Say how a run's devices stand among the others of their model, in all runs that there are.

    With --export FILE: write what may be given to others (Parquet: models, counts and quantiles; no name,
    host, UUID, run, path or time) and say what is in it. Nothing is ever sent.

    Example: thermograd population latest
    """
    from thermograd.analysis.fleet.population.kept import all_summaries
    from thermograd.analysis.fleet.population.population import population_of
    from thermograd.analysis.fleet.population.telling import describe_population

    if (run is None) == (exported is None) or (exported and (device or other)):
        raise click.UsageError("Give RUN (with --device, --with), or --export FILE.")
    if exported is not None:
        _export_population(runs, exported, as_json)
        return
    chosen = find(str(run))
    from thermograd.analysis.fleet.population.exported import Exported

    file = None if other is None else Exported.read(other)
    summaries, errors = all_summaries(chosen.path.parent, _told_reading)
    found = population_of(chosen, summaries, device, file, errors)
    answer(found, as_json, describe_population)


def _told_reading(done: int, of: int) -> None:
    if of > _MANY_RUNS:
        echo(f"read {done:,} of {of:,} runs", err=True)


def _export_population(runs: Path, path: Path, as_json: bool) -> None:
    from thermograd.analysis.fleet.population.exported import export_of, write_export
    from thermograd.analysis.fleet.population.kept import all_summaries
    from thermograd.store.runs.catalogue import list_runs

    summaries, _ = all_summaries(runs, _told_reading)
    export = export_of(summaries, list_runs(runs))
    write_export(export, path)
    if as_json:
        echo_json(
            {"file": str(path), "rows": export.table.num_rows, "devices": export.devices}
            | {"left_out": export.left_out}
        )
        return
    echo("\n".join([*export.lines(), f"Written to {path}"]))


_MANY_RUNS = 200  # a second's work: beyond, it says how far it is
