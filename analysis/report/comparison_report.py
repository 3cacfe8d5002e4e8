"""The comparison of runs as files: one page that needs nothing else, a figure for print, the numbers."""

import math
import shlex
from pathlib import Path
from typing import Any

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
from thermograd.analysis.report.data.comparison import drawn_runs
from thermograd.analysis.report.files import make_directory, write_files
from thermograd.analysis.report.page.document import build_page, require_extra
from thermograd.analysis.report.page.provenance import queries_across, versions_text
from thermograd.analysis.report.wording import control_sentence


def write_comparison(comparison: Comparison, directory: Path) -> dict[str, Path]:
    """Write a comparison; every file appears whole or not at all.

    Returns the paths of ``report`` (``compare.html``), ``json`` (``compare.json``) and, where there is
    something to draw, ``png``, ``pdf``, ``svg`` (``compare.*``). Raises `MissingExtraError` if a package of
    the extra ``report`` is not installed, `LogError` if the directory cannot be written.
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
        **_told(comparison),
    )
    files = {"html": page.encode("utf-8", "replace"), "json": comparison.to_json()} | files
    write_files(directory, {f"compare.{kind}": content for kind, content in files.items()}, "the comparison")
    paths = {kind: directory / f"compare.{kind}" for kind in files}
    return {"report": paths.pop("html")} | paths


def _told(comparison: Comparison) -> dict[str, Any]:
    """Return what the template of the page shows besides its charts."""
    best = best_of(comparison)
    simulated = sum(run.truth is not None for run in comparison.runs)
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
        "simulated": simulated,
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
