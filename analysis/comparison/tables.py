"""Runs and pairs of a comparison as tables, for the page and a notebook."""

from collections.abc import Sequence

from thermograd.analysis.comparison.compared_runs import ComparedRun, PairAcross
from thermograd.analysis.display.markup import Html, breakable, details, element, items
from thermograd.analysis.display.numbers import DASH, interval, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.run.pair import pair_numbers

_RUN = {
    **{"#": "n", "Run": "w", "Seed": "n", "Minutes": "n", "Verdict": "t", "n": "n", "r": "n"},
    **{"Lag or memory": "n", "p,\u00a0all tests": "n", "95\u00a0% bound": "n", "Naive r": "n"},
    "Detects |r|\u00a0≥": "n",
}
_ACROSS = {
    **{"Training": "t", "Hardware": "t", "Device": "t", "Direction": "t", "Runs": "n", "p": "n"},
    **{"p,\u00a0all tests": "n", "Pooled r": "n", "95 % interval": "n", "Lag,\u00a0s": "n", "I²": "n"},
}


def repeat_text(run: ComparedRun, runs: Sequence[ComparedRun]) -> str:
    """Return whose training a run repeats, by the place that run has in the comparison."""
    if run.repeats is None:
        return ""
    place = [other.run_id for other in runs].index(run.repeats[0]) + 1
    return f"the training of run {place} again, {run.repeats[1]}"


def runs_section(runs: Sequence[ComparedRun], question: PairAcross | None) -> Html:
    """Return each run: its own verdict on the pair that is compared."""
    rows = [_run_row(place, run) for place, run in enumerate(runs, 1)]
    text = (
        f"{question.x} and {question.y} of {question.role}, each run analysed by itself. Detects: the "
        "smallest coupling that the run alone would show nine times out of ten. Naive r: Pearson on raw "
        "values, no evidence."
        if question
        else "No pair of signals is compared. The verdicts are those of the whole runs."
    )
    notes = [
        f"Run {place} is {repeat_text(run, runs)}. They count once."
        for place, run in enumerate(runs, 1)
        if run.repeats is not None
    ]
    return Html(
        element("h2", "Each run by itself")
        + element("p", text, class_="note")
        + Table(_RUN, rows, "Runs").__html__()
        + items(notes, class_="plain")
    )


def _run_row(place: int, run: ComparedRun) -> tuple[object, ...]:
    name = element("strong", run.name) if run.name != run.run_id else Html("")
    which = Html(name + ("<br>" if name else "") + element("small", breakable(run.run_id)))
    pair = run.pair
    numbers = [DASH] * 6 if pair is None else pair_numbers(pair)
    seed, minutes = DASH if run.seed is None else run.seed, f"{run.minutes:.1f}"
    verdict = run.verdict if pair is None else pair.verdict
    said = element("span", verdict.replace("_", " "), class_=f"v-{verdict}")
    return (place, which, seed, minutes, said, *numbers, shown_number(run.smallest_detectable_r, ".2f"))


def pairs_across_section(chosen: list[PairAcross], others: list[PairAcross]) -> Html:
    """Return the session swap of the question and of every other pair."""
    if not chosen:
        return Html("")
    note = (
        "Session swap: does a run's training fit its own hardware better than other runs' hardware? p is "
        "the share of exchanges that fit as well. The question is corrected for its two directions, the "
        "others for all of them together (Holm); they are exploratory."
    )
    rest = details(f"{len(others)} other tests", _swap_table(others)) if others else ""
    title, said = element("h2", "Session swap"), element("p", note, class_="note")
    return Html(title + said + _swap_table(chosen).__html__() + rest)


def _swap_table(pairs: list[PairAcross]) -> Table:
    rows = [
        (
            *(pair.x, pair.y, pair.role, pair.family, pair.swap.n_runs),
            *(shown_number(p, ".2g") for p in (pair.swap.p, pair.p_adjusted)),
            shown_number(pair.swap.r, "+.2f"),
            interval(pair.swap.r_low, pair.swap.r_high),
            shown_number(pair.lag_s, "+.0f"),
            shown_number(pair.swap.i_squared, ".0%"),
        )
        for pair in pairs
    ]
    return Table(_ACROSS, rows, "Session swap")
