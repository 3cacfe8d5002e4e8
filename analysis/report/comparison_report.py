"""The comparison of runs as files: one page that needs nothing else, a figure for print, the numbers."""

from pathlib import Path

from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.comparison.tables import pairs_across_section, runs_section
from thermograd.analysis.report.page.document import build_page, require_extra
from thermograd.store.errors import LogError
from thermograd.store.files import write_file, write_json


def write_comparison(comparison: Comparison, directory: Path) -> dict[str, Path]:
    """Write a comparison; every file appears whole or not at all.

    Parameters
    ----------
    comparison
        From `compare_runs`.
    directory
        Created where missing.

    Returns
    -------
    dict
        Paths of ``report`` (``compare.html``), ``json`` (``compare.json``) and, where there is something to
        draw, ``png``, ``pdf``, ``svg`` (``compare.*``).

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    LogError
        If the directory cannot be written.
    """
    require_extra()
    from thermograd.analysis.report.figures.comparison import comparison_figure
    from thermograd.analysis.report.figures.timeline import encode_figure

    figure = comparison_figure(comparison)
    images = {kind: encode_figure(figure, kind) for kind in ("png", "pdf", "svg")} if figure else {}
    page = comparison_page(comparison)
    paths = {"report": directory / "compare.html", "json": directory / "compare.json"}
    paths |= {kind: directory / f"compare.{kind}" for kind in images}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, content in images.items():
            write_file(paths[kind], content)
        write_json(paths["json"], comparison.to_json())
        write_file(paths["report"], page.encode("utf-8", "replace"))
    except OSError as error:
        raise LogError(f"cannot write the comparison to {directory}: {error.strerror or error}") from error
    return paths


def comparison_page(comparison: Comparison) -> str:
    """Return the page."""
    from thermograd.analysis.report.charts.comparison import forest_chart, overlays_chart
    from thermograd.analysis.report.data.comparison import build_overlays, forest_rows
    from thermograd.analysis.report.figures.comparison import comparison_figure
    from thermograd.analysis.report.figures.timeline import encode_figure
    from thermograd.analysis.report.page import comparison as sections

    best = best_of(comparison)
    rows = forest_rows(comparison, best) if best else []
    overlays = build_overlays(comparison)
    charts = {
        "forest": forest_chart(rows, len(comparison.runs)),
        "overlays": overlays_chart(overlays, len(comparison.runs)),
    }
    forest = comparison_figure(comparison, with_overlays=False) if rows else None
    curves = comparison_figure(comparison, with_forest=False) if overlays else None
    body = (
        sections.comparison_header(comparison),
        runs_section(comparison.runs, comparison.chosen[0] if comparison.chosen else None),
        sections.forest_section(comparison, encode_figure(forest, "svg") if forest else None),
        pairs_across_section(comparison.chosen, comparison.others),
        sections.overlays_section(comparison, encode_figure(curves, "svg") if curves else None),
        sections.reproducibility_section(comparison),
        sections.comparison_method(comparison),
    )
    return build_page(f"{len(comparison.runs)} runs: thermograd comparison", "\n".join(body), charts)
