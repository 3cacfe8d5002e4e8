"""The report of a run: one HTML file that needs nothing else, figures for print, the numbers as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermograd.analysis.display.markup import Html, element
from thermograd.analysis.report.data.evidence import Evidence, around_spikes, pair_evidence
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.report.data.panels import build_panels, time_origin_ns
from thermograd.analysis.report.data.tables import FORMATS, figure_tables, table_bytes
from thermograd.analysis.report.page.charts import pairs_charts_section, spikes_section, timeline_section
from thermograd.analysis.report.page.document import build_page, require_extra
from thermograd.analysis.report.page.facts import alerts_section, data_section, energy_section, facts_section
from thermograd.analysis.report.page.source import queries_section, reproduce_section
from thermograd.analysis.report.page.verdict import header, method_section, naive_section, pairs_section
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.result import Analysis, Pair
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.errors import LogError
from thermograd.store.files import write_file, write_json
from thermograd.store.runs.catalogue import Run
from thermograd.store.version import __version__

_IMAGES = ("png", "pdf", "svg")
_STILL_BUCKETS = 250  # of a curve in the page's still: it is printed 10 cm wide
_MOST_EVIDENCE = 8  # pairs whose values are put into the page


@dataclass(frozen=True, eq=False)
class Contents:
    """What a report shows, read and computed once."""

    data: RunSeries
    analysis: Analysis
    panels: Panels
    pairs: list[tuple[str, list[Pair]]]
    evidence: list[Evidence]
    spikes: list[AroundSpikes]
    no_spikes: str


def write_report(
    run: Run,
    analysis: Analysis,
    output: Path | None = None,
    data_format: str | None = None,
    series: RunSeries | None = None,
) -> dict[str, Path]:
    """Write a run's report; every file appears whole or not at all.

    Parameters
    ----------
    run, analysis
        The run, and what `analyze_run` found in it.
    output
        Directory; default ``report`` in the run's own.
    data_format
        "csv" or "parquet" writes the points of every figure beside it.
    series
        The run's data where they have been read already.

    Returns
    -------
    dict
        Paths of ``report`` (HTML), ``png``, ``pdf``, ``svg`` (the four panels), ``lag_png``, ``lag_pdf``,
        ``lag_svg`` (the closest pair's lag profile, where there is one), ``data_<panel>`` where asked
        for, and ``analysis`` (JSON).

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    LogError
        If the directory cannot be written.
    ValueError
        If the data format is not known.
    """
    if data_format is not None and data_format not in FORMATS:
        raise ValueError(f"data_format is {data_format!r}; expected one of: {', '.join(FORMATS)}")
    require_extra()
    directory = _made(output or run.path / "report")
    contents = prepare(series or load_series(run), analysis)
    images = _images(contents)
    page = report_page(contents, images)
    files = {"report.html": page.encode("utf-8", "replace")} | {
        f"{_FILES[name.partition('_')[0]]}.{name.partition('_')[2]}": image for name, image in images.items()
        if name.partition("_")[0] in _FILES
    }  # fmt: skip
    if data_format is not None:
        tables = figure_tables(contents.panels, contents.analysis)
        files |= {f"{name}.{data_format}": table_bytes(table, data_format) for name, table in tables.items()}
    return _written(directory, files, analysis)


_FILES = {"figure": "figure", "lag": "lag_profile"}


def prepare(data: RunSeries, analysis: Analysis) -> Contents:
    """Compute all that the report of a run shows beyond its analysis."""
    from thermograd.analysis.report.data.evidence import lag_pairs

    pairs = lag_pairs(analysis)
    found = [
        pair_evidence(analysis.compared, place, families)
        for place, (_, families) in enumerate(pairs[:_MOST_EVIDENCE])
    ]
    evidence = [each for each in found if each is not None]
    return Contents(data, analysis, build_panels(data), pairs, evidence, *around_spikes(analysis))


def report_page(contents: Contents, images: Mapping[str, bytes]) -> str:
    """Return the page.

    Parameters
    ----------
    contents
        From `prepare`.
    images
        Figures as SVG by name, for print and where scripts do not run: ``still_svg``, and ``lag_svg``,
        ``evidence_svg`` and ``spikes_svg`` where there is something to show.
    """
    from thermograd.analysis.report.charts.pairs import cross_chart, lag_chart, memory_chart
    from thermograd.analysis.report.charts.spikes import spikes_chart
    from thermograd.analysis.report.charts.timeline import panels_chart

    data, analysis, panels = contents.data, contents.analysis, contents.panels
    charts = {
        "timeline": panels_chart(panels),
        "lag": lag_chart(contents.pairs),
        "cross": cross_chart(contents.evidence),
        "memory": memory_chart(contents.evidence),
        "spikes": spikes_chart(contents.spikes),
    }
    origin_ns = time_origin_ns(data)
    stills = [images[name] for name in ("lag_svg", "evidence_svg") if name in images]
    sections = (
        header(data, analysis),
        _navigation(),
        facts_section(data, panels),
        timeline_section(panels, images["still_svg"], has_chart=charts["timeline"] is not None),
        pairs_charts_section(contents.pairs, contents.evidence, stills),
        spikes_section(contents.spikes, contents.no_spikes, analysis, images.get("spikes_svg")),
        pairs_section(analysis),
        naive_section(analysis),
        energy_section(data),
        alerts_section(data, origin_ns),
        data_section(data, analysis, origin_ns),
        method_section(),
        queries_section(data),
        reproduce_section(data, analysis),
        element("footer", f"thermograd {__version__}, run {data.run.run_id}"),
    )
    return build_page(f"{data.run.name}: thermograd run report", "\n".join(sections), charts)


_SECTIONS = {
    "run": "The run",
    "timeline": "Timeline",
    "lags": "Lags",
    "spikes": "Spikes",
    "tests": "Tests",
    "energy": "Energy",
    "alerts": "Alerts",
    "data": "Data quality",
    "method": "Method",
    "sql": "SQL",
    "again": "Do it again",
}


def _navigation() -> Html:
    links = [element("li", element("a", name, href=f"#{place}")) for place, name in _SECTIONS.items()]
    return element("nav", element("ul", *links), class_="no-print", aria_label="Parts of this report")


def _images(contents: Contents) -> dict[str, bytes]:
    """Return the figures by name and format."""
    from thermograd.analysis.report.figures.pairs import evidence_figure, spikes_figure
    from thermograd.analysis.report.figures.timeline import build_figure, encode_figure, lag_figure

    data = contents.data
    simulated = any(device.simulated for device in data.devices.values())
    footer = f"{data.run.run_id}, thermograd {__version__}"
    footer = f"Simulated hardware. {footer}" if simulated else footer
    figures: dict[str, Any] = {"figure": build_figure(contents.panels, data.run.name, footer)}
    if contents.pairs:
        figures["lag"] = lag_figure(*contents.pairs[0])
    images = {
        f"{name}_{kind}": encode_figure(figure, kind) for name, figure in figures.items() for kind in _IMAGES
    }
    small = contents.panels.thinned(_STILL_BUCKETS)
    images["still_svg"] = encode_figure(build_figure(small, data.run.name, footer), "svg")
    if contents.evidence:
        first = contents.evidence[0]
        figure = evidence_figure(first, contents.pairs[first.place][0])
        images["evidence_svg"] = encode_figure(figure, "svg")
    if contents.spikes:
        images["spikes_svg"] = encode_figure(spikes_figure(contents.spikes[0]), "svg")
    return images


def _written(directory: Path, files: Mapping[str, bytes], analysis: Analysis) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    try:
        for name, content in files.items():
            path = directory / name
            write_file(path, content)
            paths[_key(name)] = path
        paths["analysis"] = directory / "analysis.json"
        write_json(paths["analysis"], analysis.to_json())
    except OSError as error:
        raise _unwritable(directory, error) from error
    return paths


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return directory


def _unwritable(directory: Path, error: OSError) -> LogError:
    return LogError(f"cannot write the report to {directory}: {error.strerror or error}")


def _key(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if kind not in _IMAGES:
        return "report" if kind == "html" else f"data_{stem.removeprefix('figure_')}"
    return kind if stem == "figure" else f"lag_{kind}"
