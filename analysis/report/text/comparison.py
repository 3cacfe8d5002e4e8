"""Comparisons as text for a terminal: several runs, and the naive method beside ours."""

import math
from collections.abc import Sequence
from typing import Any

import scipy.special
from thermograd.analysis.comparison.result import ComparedRun, Comparison, PairAcross
from thermograd.analysis.report.table import table_text
from thermograd.analysis.run.result import Analysis, Pair
from thermograd.analysis.statement import most_telling, question_verdict

_NAMES = {"grad_norm": "gradient norm", "temperature_c": "temperature", "power_w": "power"}
_FEWEST_RUNS = 5
_MOST_OTHERS = 6
_MATTERS = 0.2  # the |r| below which a coupling does not matter, as in `verdict`


def best_of(comparison: Comparison) -> PairAcross | None:
    """Return the direction of the question that says most; None where the runs share no pair."""
    return min(comparison.chosen, key=_by_p) if comparison.chosen else None


def comparison_verdict(comparison: Comparison) -> str:
    """Return the verdict over all runs, in the words of `verdict`."""
    best = best_of(comparison)
    if best is None or math.isnan(best.swap.p):
        return "insufficient"
    if best.p_adjusted <= 0.05:
        return "coupled"
    return "no_coupling" if _bound(comparison) < _MATTERS else "inconclusive"


def _bound(comparison: Comparison) -> float:
    return max(max(abs(pair.swap.r_low), abs(pair.swap.r_high)) for pair in comparison.chosen)


def comparison_sentence(comparison: Comparison) -> str:
    """Say what the runs show together about the question, how sure, and what is missing."""
    best = best_of(comparison)
    if best is None or best.swap.n_runs < 2:
        return _too_few(comparison)
    what, numbers = f"{_words(best.x)} and {_words(best.y)}", f"pooled r = {_interval(best)}"
    trainings, said = best.swap.n_runs, comparison_verdict(comparison)
    if said == "insufficient":
        return (
            f"CANNOT TELL from {trainings} different trainings: the session swap needs {_FEWEST_RUNS}, "
            f"{_FEWEST_RUNS - trainings} more. Described only: {what}, {numbers} at lag {best.lag_s:+.0f} s."
        )
    if said == "coupled":
        return (
            f"COUPLED over {trainings} trainings: {what} fit their own run better than another run's, "
            f"{_leads(best.lag_s)} ({numbers}, session swap p = {best.p_adjusted:.2g}). "
            "This is association; only an intervention shows what causes what."
        )
    lead = "NO COUPLING" if said == "no_coupling" else "NOT SHOWN"
    bound = min(_bound(comparison), 1.0)
    return (
        f"{lead} over {trainings} trainings: {what} fit their own run no better than another run's "
        f"(session swap p = {best.p_adjusted:.2g}, {numbers}); the pooled intervals exclude |r| above "
        f"{bound:.2f}."
    )


def _too_few(comparison: Comparison) -> str:
    repeated = len(comparison.runs) - len(comparison.counted)
    if len(comparison.counted) < 2:
        repeat = "repeats" if repeated == 1 else "repeat"
        return (
            f"ONE TRAINING, no replication: {repeated} of {len(comparison.runs)} runs {repeat} another's "
            "step series. Together they say no more than one of them; runs of other seeds are needed."
        )
    return "CANNOT TELL: no two of these runs share a training signal and a hardware signal that change."


def _by_p(pair: PairAcross) -> tuple[float, float]:
    p = pair.swap.p
    return (1.0 if math.isnan(p) else p), -abs(pair.swap.r) if math.isfinite(pair.swap.r) else 0.0


def _words(name: str) -> str:
    return _NAMES.get(name, name)


def _leads(lag_s: float) -> str:
    if lag_s > 0:
        return f"the hardware follows by {lag_s:.0f} s"
    return f"the training follows by {-lag_s:.0f} s" if lag_s < 0 else "at the same time"


def _interval(pair: PairAcross) -> str:
    swap = pair.swap
    return f"{swap.r:+.2f} [{swap.r_low:+.2f}, {swap.r_high:+.2f}]"


def describe_comparison(comparison: Comparison) -> str:
    """Return a comparison as text: the sentence first, then each run, all pairs, how alike, warnings."""
    lines = [comparison_sentence(comparison), "", "Runs, and what each says by itself"]
    lines += [_run_line(place, run, comparison) for place, run in enumerate(comparison.runs, 1)]
    best = best_of(comparison)
    if best is not None:
        lines += ["", f"{best.x} ~ {best.y} ({best.role}), each run by itself", _runs_table(comparison, best)]
        lines += ["", _naive_line(best)] if math.isfinite(best.naive_others) else []
        lines += [change_line(comparison)] if change_line(comparison) else []
        lines += ["", "All runs together (session swap, pooled r)", _pairs_table(comparison)]
    lines += ["", "How alike the trainings are", *(f"  {line}" for line in reproducibility_lines(comparison))]
    notes = list(dict.fromkeys(reason for pair in comparison.chosen for reason in pair.swap.reasons))
    if notes or comparison.warnings:
        lines += ["", "Warnings", *(f"  {_clean(note)}" for note in [*notes, *comparison.warnings])]
    return "\n".join(lines)


def _clean(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _run_line(place: int, run: ComparedRun, comparison: Comparison) -> str:
    name = "" if run.name == run.run_id else f"  {_clean(run.name)}"
    line = f"  {place}  {_clean(run.run_id)}{name}: {run.verdict.replace('_', ' ')}"
    if run.repeats is not None:
        line += f"\n     {repeat_text(run, comparison)}: they count once"
    return line


def repeat_text(run: ComparedRun, comparison: Comparison) -> str:
    """Return whose training a run repeats, by the place that run has in the comparison."""
    if run.repeats is None:
        return ""
    place = [other.run_id for other in comparison.runs].index(run.repeats[0]) + 1
    return f"the training of run {place} again, {run.repeats[1]}"


def _runs_table(comparison: Comparison, best: PairAcross) -> str:
    swap = best.swap
    pooled = dict(zip(best.run_ids, zip(swap.run_r, swap.run_low, swap.run_high, strict=True), strict=True))
    header = [
        "#",
        "seed",
        "min",
        "verdict",
        "n",
        "r",
        "lag_s",
        "p_adj",
        "naive r",
        "detects",
        "p_change",
        "r at others' lag",
    ]
    rows = []
    for place, run in enumerate(comparison.runs, 1):
        pair = run.pair
        own = ("-",) * 5 if pair is None else (pair.n, *_shorts(pair))
        r = pooled.get(run.run_id)
        shown = "-" if r is None else f"{r[0]:+.2f} [{r[1]:+.2f}, {r[2]:+.2f}]"
        detects = "-" if run.smallest_detectable_r is None else f"{run.smallest_detectable_r:.2f}"
        verdict = "-" if pair is None else pair.verdict
        rows.append([place, run.seed, f"{run.minutes:.1f}", verdict, *own, detects, _change(pair), shown])
    return table_text(header, rows)


def _change(pair: Pair | None) -> str:
    return "-" if pair is None or pair.over_time is None else _number(pair.over_time["p"], ".2g")


def change_line(comparison: Comparison) -> str:
    """Say whether the coupling changes within the runs; empty where no run is long enough."""
    pairs = [run.pair for run in comparison.counted if run.pair is not None]
    q = [pair.over_time["q"] for pair in pairs if pair.over_time and math.isfinite(pair.over_time["q"])]
    if not q:
        return ""
    p = float(scipy.special.chdtrc(3 * len(q), sum(q)))
    said = "changes within the runs" if p <= 0.05 else "is not seen to change within the runs"
    return (
        f"Over time: the correlation {said} (Cochran's Q of quarters at each run's own lag, summed over "
        f"{len(q)} runs: p = {p:.2g})."
    )


def _shorts(pair: Pair) -> list[str]:
    values = ((pair.r, "+.2f"), (pair.lag_s, "+.0f"), (pair.p_adjusted, ".2g"), (pair.pearson_r, "+.2f"))
    return [_number(value, form) for value, form in values]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _naive_line(best: PairAcross) -> str:
    return (
        f"Control: naive r is {best.naive_own:+.2f} with the run's own hardware (median), and "
        f"{best.naive_others:+.2f} with the hardware of the other runs, which cannot be coupled to it."
    )


def _pairs_table(comparison: Comparison) -> str:
    header = ["x", "y", "device", "direction", "runs", "p_swap", "p_adj", "pooled r [95 %]", "lag_s", "I2"]
    shown = [pair for pair in comparison.others if pair.swap.p <= 0.05][:_MOST_OTHERS]
    rows = [
        [
            *(pair.x, pair.y, pair.role, pair.family, pair.swap.n_runs),
            *(_number(pair.swap.p, ".2g"), _number(pair.p_adjusted, ".2g")),
            _interval(pair) if math.isfinite(pair.swap.r) else "-",
            f"{pair.lag_s:+.0f}",
            _number(pair.swap.i_squared, ".0%"),
        ]
        for pair in (*comparison.chosen, *shown)
    ]
    more = len(comparison.others) - len(shown)
    rest = (
        f"\n{more} other tests with p_swap above 0.05 or no p: in --json and in the page (-o)."
        if more
        else ""
    )
    return table_text(header, rows) + rest


def reproducibility_lines(comparison: Comparison) -> list[str]:
    """Say how far the trainings spread, and which of them are one."""
    found = comparison.reproducibility
    lines = []
    if found.final_mean is not None:
        spread = "" if found.final_sd is None else f", sd {found.final_sd:.3g}, range {found.final_range:.3g}"
        lines.append(f"Final loss {found.final_mean:.4g}{spread} ({_known(found.final_loss)} runs).")
    if found.loss_sd is not None and found.norm_factor is not None:
        lines.append(
            f"Over {found.common_steps:,} common steps runs differ by {found.loss_sd:.3g} in loss and by a "
            f"factor of {found.norm_factor:.2f} in gradient norm (median sd)."
        )
    elif len(comparison.runs) > 1:
        lines.append("They have no steps with known values in common.")
    seeds = [run.seed for run in comparison.runs]
    if any(seed is None for seed in seeds):
        lines.append(f"{sum(seed is None for seed in seeds)} of {len(seeds)} runs recorded no seed.")
    repeated = [run for run in comparison.runs if run.repeats is not None]
    if repeated:
        lines.append(
            f"Of {len(comparison.runs)} runs, {len(repeated)} repeat{'s' * (len(repeated) == 1)} "
            "another's training: "
            f"that shows how deterministic it is, and is no replication; {len(comparison.counted)} count."
        )
    return lines


def _known(values: dict[str, Any]) -> int:
    return sum(value is not None for value in values.values())


# -- the naive method beside ours ------------------------------------------------------------------


def side_by_side(runs: Sequence[tuple[str, Analysis]], x: str = "grad_norm", y: str = "temperature_c") -> str:
    """Return what the naive method and ours say of the same runs, in at most 80 columns.

    Parameters
    ----------
    runs
        What is true of each run, in lines of at most 34 characters, and its analysis.
    x, y
        The pair of signals of the naive method; of several devices the one with the largest |r| is shown.
    """
    rows = [("", "naive method", "thermograd"), tuple("-" * width for width in _WIDTHS)]
    rows += [(truth, *_both(analysis, x, y)) for truth, analysis in runs]
    lines = []
    for cells in rows:
        parts = [cell.split("\n") for cell in cells]
        for place in range(max(map(len, parts))):
            lines.append(_columns([part[place] if place < len(part) else "" for part in parts]))
    return "\n".join(lines)


def demo_beside(runs: Sequence[tuple[str, Analysis]]) -> str:
    """Return the last table of the demo: what the instrument is for, on one screen."""
    labelled = [(truth or "this training\n(nobody knows its truth)", analysis) for truth, analysis in runs]
    return "\n".join(
        [
            "What the instrument is for: is gradient norm coupled to temperature?",
            "",
            side_by_side(labelled),
            "",
            "Naive: Pearson's r of raw values, to which any two trends are one thing.",
        ]
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
        return f"COUPLED\nr = {pair.r:+.2f}, lag {pair.lag_s:+.0f} s"
    asked = [p for p in analysis.pairs if not p.is_speed and p.verdict == said]
    bound = min(1.0, max((abs(p.r) + p.half_width for p in asked if math.isfinite(p.r)), default=1.0))
    return {
        "no_coupling": f"no coupling\nabove |r| = {bound:.2f}",
        "single_event": "single event\nno pattern",
        "insufficient": "cannot tell\ntoo little data",
    }.get(said, f"cannot tell yet\nup to |r| = {bound:.2f} open")
