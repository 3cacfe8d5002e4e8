"""What the page that compares runs tells."""

import math
import shlex
from typing import Any

from thermograd.analysis.comparison.result import (
    Comparison,
    best_of,
    change_line,
    comparison_sentence,
    comparison_verdict,
    reproducibility_lines,
)
from thermograd.analysis.comparison.tables import pairs_across_section, runs_section
from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.report.data.comparison import run_style
from thermograd.analysis.report.data.wording import control_sentence
from thermograd.analysis.report.page.source import queries_across, versions_text


def comparison_told(comparison: Comparison) -> dict[str, Any]:
    """Return what the template of the page shows besides its charts."""
    best = best_of(comparison)
    simulated = sum(run.truth is not None for run in comparison.runs)
    return {
        "comparison": comparison,
        "best": best,
        "trainings": len(comparison.counted),
        "simulated": simulated,
        "kind": comparison_verdict(comparison),
        "sentence": comparison_sentence(comparison),
        "how_sure": _how_sure(comparison),
        "not_said": _not_said(bool(simulated)),
        "runs_section": runs_section(comparison.runs, comparison.chosen[0] if comparison.chosen else None),
        "pairs_section": pairs_across_section(comparison.chosen, comparison.others),
        "control": control_sentence(best) if best else "",
        "change": change_line(comparison),
        "run_style": run_style,
        "alike": reproducibility_lines(comparison),
        "losses": _losses(comparison),
        "quoted_ids": " ".join(shlex.quote(run.run_id) for run in comparison.runs),
        "versions": versions_text(),
        "sql": queries_across([run.run_id for run in comparison.runs]),
    }


def _how_sure(comparison: Comparison) -> list[str]:
    best = best_of(comparison)
    if best is None or best.swap.n_runs < 2:
        return ["Nothing could be tested, so there is nothing to be sure of."]
    pooled = (
        "The pooled interval holds at every lag searched together, and each run is taken at a lag that the "
        "others chose."
    )
    if not math.isfinite(best.swap.p):
        return [pooled, "With fewer than five trainings this describes, and supports nothing."]
    corrected = (
        "The chance of a false alarm is at most 5 %: both directions are corrected together (Holm), and what "
        "the runs share cannot raise one."
    )
    return [corrected, pooled]


def _not_said(simulated: bool) -> list[str]:
    texts = [
        "Which side causes what: association cannot tell, only an intervention can.",
        "Anything about what all runs share, such as a schedule: it fits every other run's hardware just "
        "as well.",
    ]
    return texts + ["Anything about real hardware, where runs are simulated."] * simulated


def _losses(comparison: Comparison) -> Table:
    final = comparison.reproducibility.final_loss
    rows = [
        (
            place,
            run.run_id,
            DASH if run.seed is None else run.seed,
            shown_number(final[run.run_id], ".4g"),
        )
        for place, run in enumerate(comparison.runs, 1)
    ]
    return Table({"#": "n", "Run": "i", "Seed": "n", "Final loss": "n"}, rows, "Final losses")
