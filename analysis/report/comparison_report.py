"""The comparison of runs as files: one page that needs nothing else, a figure for print, the numbers."""

from pathlib import Path
from typing import Any

from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.report.files import make_directory, write_files
from thermograd.analysis.report.page.comparison import comparison_told
from thermograd.analysis.report.page.document import build_page, require_extra


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
    from thermograd.analysis.report.charts.comparison import comparison_charts, comparison_figure
    from thermograd.analysis.report.charts.style import image, images

    make_directory(directory, "the comparison")
    charts, printed = comparison_charts(comparison)
    figure = comparison_figure(comparison, printed)
    files: dict[str, Any] = images(figure) if figure else {}
    page = build_page(
        "comparison.html",
        f"{len(comparison.runs)} runs: thermograd comparison",
        charts,
        stills={name: spec and image(spec) for name, spec in printed.items()},
        **comparison_told(comparison),
    )
    files = {"html": page.encode("utf-8", "replace"), "json": comparison.to_json()} | files
    write_files(directory, {f"compare.{kind}": content for kind, content in files.items()}, "the comparison")
    paths = {kind: directory / f"compare.{kind}" for kind in files}
    return {"report": paths.pop("html")} | paths
