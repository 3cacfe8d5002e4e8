"""Comparisons as text for a terminal: several runs, and the naive method beside ours."""

import math
from collections.abc import Sequence
from itertools import zip_longest

from thermograd.analysis.comparison.compared_runs import ComparedRun, PairAcross
from thermograd.analysis.comparison.result import (
    Comparison,
    best_of,
    change_line,
    comparison_sentence,
    interval,
    reproducibility_lines,
)
from thermograd.analysis.comparison.side_by_side import losses_lines, measured_rows, settings_rows
from thermograd.analysis.comparison.tables import repeat_text
from thermograd.analysis.display.numbers import DASH, seconds_text
from thermograd.analysis.report.wording import control_sentence
from thermograd.analysis.run.pair import Pair, answer_text, most_telling
from thermograd.analysis.run.result import Analysis, question_verdict
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable, table_text

_MOST_OTHERS = 6


def describe_comparison(comparison: Comparison) -> str:
    """Return a comparison as text: what differs, then the question: each run, all pairs, how alike."""
    best = best_of(comparison)
    tested = best is not None and math.isfinite(best.swap.p)
    lines = [comparison_sentence(comparison), ""] if tested else []
    lines += ["Runs, and what each says by itself"]
    lines += [_run_line(place, run, comparison) for place, run in enumerate(comparison.runs, 1)]
    lines += ["", *_what_differs(comparison)]
    lines += [] if tested else ["", "Are training and hardware coupled?", comparison_sentence(comparison)]
    if best is not None:
        lines += ["", f"{best.x} ~ {best.y} ({best.role}), each run by itself", _runs_table(comparison, best)]
        lines += ["", said.replace("−", "-")] if (said := control_sentence(best)) else []
        lines += [change_line(comparison)] if change_line(comparison) else []
        lines += ["", "All runs together (session swap, pooled r)", _pairs_table(comparison)]
    lines += ["", "How alike the trainings are", *(f"  {line}" for line in reproducibility_lines(comparison))]
    notes = list(dict.fromkeys(reason for pair in comparison.chosen for reason in pair.swap.reasons))
    if notes or comparison.warnings:
        lines += ["", "Warnings", *(f"  {printable(note, 5000)}" for note in [*notes, *comparison.warnings])]
    return "\n".join(lines)


def _what_differs(comparison: Comparison) -> list[str]:
    found, heads = comparison.differences, [f"run {n}" for n in range(1, len(comparison.runs) + 1)]
    lines = ["What differs", *(f"  {line}" for line in losses_lines(found, comparison.runs))]
    rows, more = settings_rows(found)
    lines += ["", table_text(["settings", "", *heads], rows)] if rows else []
    lines += [f"and {more} more: in --json and in the page (-o)"] * bool(more)
    measured = measured_rows(found)
    lines += ["", table_text(["measured", "", *heads], measured)] if measured else []
    return [line.replace("−", "-").replace(DASH, "-") for line in lines]


def _run_line(place: int, run: ComparedRun, comparison: Comparison) -> str:
    name = "" if run.name == run.run_id else f"  {printable(run.name)}"
    line = f"  {place}  {printable(run.run_id)}{name}: {run.verdict.replace('_', ' ')}"
    if run.repeats is not None:
        line += f"\n     {repeat_text(run, comparison.runs)}: they count once"
    return line


def _runs_table(comparison: Comparison, best: PairAcross) -> str:
    swap = best.swap
    pooled = dict(zip(best.run_ids, zip(swap.run_r, swap.run_low, swap.run_high, strict=True), strict=True))
    header = ["#", "seed", "min", "verdict", "n", "r", "answers", "p_adj", "naive r", "detects", "p_change"]
    rows = []
    for place, run in enumerate(comparison.runs, 1):
        pair = run.pair
        own, change = ["-"] * 5, "-"
        if pair is not None:
            own = [str(pair.n), _number(pair.r, "+.2f"), _answer(pair)]
            p = _number(pair.p_adjusted, ".2g")
            own += [f"<={p}" if pair.p_sign == "<=" else p, _number(pair.pearson_r, "+.2f")]
            change = _number(pair.over_time["p"], ".2g") if pair.over_time else "-"
        r = pooled.get(run.run_id)
        shown = "-" if r is None else f"{r[0]:+.2f} [{r[1]:+.2f}, {r[2]:+.2f}]"
        detects = _number(run.smallest_detectable_r, ".2f")
        verdict = "-" if pair is None else pair.verdict
        rows.append([place, run.seed, f"{run.minutes:.1f}", verdict, *own, detects, change, shown])
    return table_text([*header, "r at others' lag"], rows)


def _answer(pair: Pair) -> str:
    return answer_text(pair).replace("−", "-").replace(DASH, "-")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _pairs_table(comparison: Comparison) -> str:
    header = ["x", "y", "device", "direction", "runs", "p_swap", "p_adj", "pooled r [95 %]", "lag_s", "I2"]
    shown = [pair for pair in comparison.others if pair.swap.p <= 0.05][:_MOST_OTHERS]
    rows = [
        [
            *(pair.x, pair.y, pair.role, pair.family, pair.swap.n_runs),
            *(_number(pair.swap.p, ".2g"), _number(pair.p_adjusted, ".2g")),
            interval(pair) if math.isfinite(pair.swap.r) else "-",
            f"{pair.lag_s:+.0f}",
            _number(pair.swap.i_squared, ".0%"),
        ]
        for pair in (*comparison.chosen, *shown)
    ]
    more = len(comparison.others) - len(shown)
    rest = f"\n{counted(more, 'other test')} with p_swap above 0.05 or no p: in --json and in the page (-o)."
    return table_text(header, rows) + rest * bool(more)


# -- the naive method beside ours ------------------------------------------------------------------


def side_by_side(runs: Sequence[tuple[str, Analysis]], x: str = "grad_norm", y: str = "temperature_c") -> str:
    """Return what the naive method and ours say of the same runs, in at most 80 columns.

    What is true of each run comes in lines of at most 34 characters. Of several devices the naive method
    shows the one with the largest |r|.
    """
    rows = [("", "naive method", "thermograd"), tuple("-" * width for width in _WIDTHS)]
    rows += [(truth, *_both(analysis, x, y)) for truth, analysis in runs]
    lines = [
        line for cells in rows for line in zip_longest(*(cell.split("\n") for cell in cells), fillvalue="")
    ]
    return "\n".join(map(_columns, lines))


def demo_beside(runs: Sequence[tuple[str, Analysis]]) -> str:
    """Return the last table of the demo: what the instrument is for, on one screen."""
    labelled = [(truth or "this training\n(nobody knows its truth)", analysis) for truth, analysis in runs]
    return (
        "What the instrument is for: is gradient norm coupled to temperature?\n\n"
        f"{side_by_side(labelled)}\n\n"
        "Naive: Pearson's r of raw values, to which any two trends are one thing."
    )


_WIDTHS = (34, 21, 21)


def _columns(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _both(analysis: Analysis, x: str, y: str) -> tuple[str, str]:
    pairs = [pair for pair in analysis.pairs if (pair.x, pair.y) == (x, y)]
    known = [pair for pair in most_telling(pairs) if math.isfinite(pair.pearson_r)]
    if not known:
        return "nothing to correlate", "cannot tell: no data"
    pair = max(known, key=lambda pair: abs(pair.pearson_r))
    steps = analysis.alignment["matched"]
    return _naive_says(pair.pearson_r, steps), _ours_says(analysis, pair)


def _naive_says(r: float, n: int) -> str:
    t = abs(r) * math.sqrt(max(n - 2, 1) / max(1.0 - r * r, 1e-300))
    p = math.erfc(t / math.sqrt(2.0))  # n is in the hundreds: Student's t is normal
    lead = "COUPLED" if p <= 0.05 else "not coupled"
    return f"{lead}\nr = {r:+.2f}, p {'< 1e-9' if p < 1e-9 else f'= {p:.1g}'}"


def _ours_says(analysis: Analysis, pair: Pair) -> str:
    said = question_verdict(analysis)
    if said == "coupled":
        coupled = [p for p in analysis.pairs if p.verdict == "coupled" and not p.is_speed]
        pair = pair if pair.verdict == "coupled" else min(coupled, key=lambda p: (p.p_adjusted, -abs(p.r)))
        where = (
            f"lag {pair.lag_s:+.0f} s" if pair.memory_s is None else f"memory {seconds_text(pair.memory_s)}"
        )
        return f"COUPLED\nr = {pair.r:+.2f}, {where}"
    asked = [p for p in analysis.pairs if not p.is_speed and p.verdict == said]
    bound = min(1.0, max((p.bound for p in asked if math.isfinite(p.bound)), default=1.0))
    return {
        "no_coupling": f"no coupling\nabove |r| = {bound:.2f}",
        "single_event": "single event\nno pattern",
        "insufficient": "cannot tell\ntoo little data",
    }.get(said, f"cannot tell yet\nup to |r| = {bound:.2f} open")
