"""The comparison of runs as files: one page that needs nothing else, a figure for print, the numbers."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.analysis.comparison.reproducibility import FINAL_LOSS
from thermograd.analysis.comparison.result import (
    Comparison,
    best_of,
    change_line,
    comparison_sentence,
    comparison_verdict,
    reproducibility_lines,
)
from thermograd.analysis.comparison.side_by_side import (
    losses_lines,
    measured_note,
    measured_rows,
    settings_rows,
)
from thermograd.analysis.comparison.tables import pairs_across_section, runs_section
from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.report.alt.comparison import forest_words, overlays_words
from thermograd.analysis.report.alt.run import Words, words
from thermograd.analysis.report.data.comparison import (
    drawn_runs,
    forest_rows,
    overlays_by_step,
    overlays_by_time,
)
from thermograd.analysis.report.files import make_directory, write_files
from thermograd.analysis.report.page.document import build_page, require_extra
from thermograd.analysis.report.page.provenance import queries_across, versions_text
from thermograd.analysis.report.run_figures import IMAGES
from thermograd.analysis.report.wording import control_sentence

if TYPE_CHECKING:
    from thermograd.analysis.report.charts.paper.style import PrintStyle


def write_comparison(
    comparison: Comparison, directory: Path, style: "PrintStyle | None" = None, alone: bool = False
) -> dict[str, Path]:
    """Write a comparison; every file appears whole or not at all.

    Parameters
    ----------
    comparison, directory
        What `compare_runs` found, and where the files go.
    style
        Size of the printed figures and of their letters.
    alone
        Whether each plot is written as a figure by itself too.

    Returns
    -------
    dict
        Paths of ``report`` (``compare.html``), ``json`` (``compare.json``) and, where there is something to
        draw, ``png``, ``pdf``, ``svg`` (``compare.*``), and ``forest_png`` and so on where asked for.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``report`` is not installed.
    LogError
        If the directory cannot be written.
    ConfigError
        If the style's height has no room for the plots.
    """
    require_extra()
    from thermograd.analysis.report.charts.comparison import comparison_charts
    from thermograd.analysis.report.charts.paper.canvas import described_svg
    from thermograd.analysis.report.charts.style import images_beside

    make_directory(directory, "the comparison")
    charts, printed = comparison_charts(comparison)
    files: dict[str, Any]
    files, drawn = images_beside(
        {name: spec for name, spec in printed.items() if spec},
        lambda: _figures(comparison, style, alone),
    )
    told = shown_in_words(comparison)
    page = build_page(
        "comparison.html",
        f"{len(comparison.runs)} runs: thermograd comparison",
        charts,
        stills=dict.fromkeys(printed)
        | {name: described_svg(svg.decode(), told[name]).encode() for name, svg in drawn.items()},
        told={name: words.text for name, words in told.items()},
        labels=comparison.labels(),
        **_told(comparison),
    )
    files = {"compare.html": page.encode("utf-8", "replace"), "compare.json": comparison.to_json()} | files
    write_files(directory, files, "the comparison")
    return {_key(name): directory / name for name in files}


def _key(name: str) -> str:
    stem, _, kind = name.removeprefix("compare").removeprefix("_").rpartition(".")
    return "report" if kind == "html" else f"{stem}_{kind}" if stem else kind


def _figures(comparison: Comparison, style: "PrintStyle | None", alone: bool) -> dict[str, bytes]:
    """Return the figures by file name, each as PNG, PDF and SVG."""
    from thermograd.analysis.report.charts.paper.canvas import encode_figure
    from thermograd.analysis.report.charts.paper.comparison import comparison_figure, parts_of

    told = shown_in_words(comparison)
    drawn = [("compare", comparison_figure(comparison, style), told["all"])]
    for part in parts_of(comparison, alone=True) if alone else ():
        figure = comparison_figure(comparison, style, [part])
        drawn.append((f"compare_{part.key}", figure, told[part.key]))
    return {
        f"{name}.{kind}": encode_figure(figure, kind, shown)
        for name, figure, shown in drawn
        if figure is not None
        for kind in IMAGES
    }


def shown_in_words(comparison: Comparison) -> dict[str, Words]:
    """Return what each figure of a comparison shows, by its name, each plot by its own, and all together."""
    best = best_of(comparison)
    rows = forest_rows(comparison, best) if best else []
    by_step, by_time = overlays_by_step(comparison), overlays_by_time(comparison)
    found = {"forest": forest_words(comparison, rows)} if rows else {}
    for name, along, overlays in (("steps", "step", by_step), ("overlays", "time", by_time)):
        found[name] = overlays_words(comparison, overlays, along)
        for overlay in overlays:
            found[f"{along}_{overlay.key}"] = overlays_words(comparison, [overlay], along)
    told = [found[name] for name in ("forest", "steps", "overlays") if name in found]
    title = f"{len(comparison.runs)} runs compared"
    return found | {"all": words(title, *(each.text for each in told))}


def _told(comparison: Comparison) -> dict[str, Any]:
    """Return what the template of the page shows besides its charts."""
    best = best_of(comparison)
    found, heads = comparison.differences, {f"Run {n}": "t" for n in range(1, len(comparison.runs) + 1)}
    settings, left_out = settings_rows(found)
    return {
        "measured_note": measured_note(found),
        "losses_apart": losses_lines(found, comparison.runs),
        "settings": Table({"Settings": "t", "Name": "t"} | heads, settings, "Settings that differ"),
        "settings_left_out": left_out,
        "measured": Table(
            {"Where": "t", "Measured": "t"} | dict.fromkeys(heads, "n"), measured_rows(found), "Measured"
        ),
        "comparison": comparison,
        "best": best,
        "trainings": len(comparison.counted),
        "simulated": comparison.simulated,
        "kind": comparison_verdict(comparison),
        "sentence": comparison_sentence(comparison),
        "pooled": best is not None and best.swap.n_runs > 1,
        "tested": best is not None and math.isfinite(best.swap.p),
        "runs_section": runs_section(comparison.runs, comparison.chosen[0] if comparison.chosen else None),
        "pairs_section": pairs_across_section(comparison.chosen, comparison.others),
        "control": control_sentence(best) if best else "",
        "change": change_line(comparison),
        "drawn": drawn_runs(comparison),
        "alike": reproducibility_lines(comparison),
        "losses": _losses(comparison),
        "quoted_ids": " ".join(shlex.quote(run.run_id) for run in comparison.runs),
        "versions": versions_text(),
        "sql": queries_across([run.run_id for run in comparison.runs]),
    }


def _losses(comparison: Comparison) -> Table:
    final = comparison.reproducibility.final_loss
    rows = [
        (place, run.run_id, DASH if run.seed is None else run.seed, shown_number(final[run.run_id], ".4g"))
        for place, run in enumerate(comparison.runs, 1)
    ]
    columns = {"#": "n", "Run": "i", "Seed": "n", FINAL_LOSS.capitalize(): "n"}
    return Table(columns, rows, "Final losses")
