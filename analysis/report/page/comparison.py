"""Parts of the page that compares runs."""

import math
import shlex

import thermograd
from thermograd.analysis.comparison.result import (
    ComparedRun,
    Comparison,
    PairAcross,
    best_of,
    change_line,
    comparison_sentence,
    comparison_verdict,
    repeat_text,
    reproducibility_lines,
)
from thermograd.analysis.display.markup import Html, breakable, details, element, items, table, typeset
from thermograd.analysis.display.numbers import bound_text
from thermograd.analysis.report.data.comparison import run_style
from thermograd.analysis.report.page.charts import ZOOM_HELP, chart_box, still, zoom_buttons
from thermograd.analysis.report.page.source import queries_across, versions_text

_DASH = "–"
_DASHES = ("", "5 2", "1.5 1.5", "8 3 2 3")


def comparison_header(comparison: Comparison) -> Html:
    """Return what is compared, and what the runs say together."""
    simulated = sum(run.truth is not None for run in comparison.runs)
    trainings = len(comparison.counted)
    badges = [
        element(
            "span",
            f"{len(comparison.runs)} runs, {trainings} training{'s' * (trainings != 1)}",
            class_="badge",
        )
    ]
    if simulated:
        badges.append(
            element("span", f"SIMULATED: {simulated} of {len(comparison.runs)}", class_="badge simulated")
        )
    lead, colon, rest = typeset(comparison_sentence(comparison)).partition(": ")
    sentence = element("p", element("strong", lead, colon) if colon else lead, rest, class_="sentence")
    not_said = [
        "Which side causes what: association cannot tell, only an intervention can.",
        "Anything about what all runs share, such as a schedule: it fits every other run's hardware just "
        "as well.",
    ]
    if simulated:
        not_said.append("Anything about real hardware, where runs are simulated.")
    box = element(
        "div",
        element("div", element("h3", "How sure"), *[element("p", text) for text in _how_sure(comparison)]),
        element("div", element("h3", "What it does not say"), items(not_said)),
        class_="columns",
    )
    verdict = element("section", sentence, box, class_=f"verdict {comparison_verdict(comparison)}")
    title = element("h1", f"{len(comparison.runs)} runs compared")
    return Html(
        element("p", "thermograd comparison", class_="eyebrow") + title + element("p", *badges) + verdict
    )


def _how_sure(comparison: Comparison) -> list[str]:
    best = best_of(comparison)
    if best is None or best.swap.n_runs < 2:
        return ["Nothing could be tested, so there is nothing to be sure of."]
    texts = [
        "The pooled interval holds at every lag searched together, and each run is taken at a lag that the "
        "others chose."
    ]
    if math.isfinite(best.swap.p):
        texts.insert(
            0,
            "The chance of a false alarm is at most 5 %: both directions are corrected together (Holm), "
            "and what "
            "the runs share cannot raise one.",
        )
    else:
        texts.append("With fewer than five trainings this describes, and supports nothing.")
    return texts


def runs_section(comparison: Comparison) -> Html:
    """Return each run: its own verdict on the pair that is compared."""
    rows = [_run_row(place, run) for place, run in enumerate(comparison.runs, 1)]
    names = (
        "#",
        "Run",
        "Seed",
        "Minutes",
        "Verdict",
        "n",
        "r",
        "Lag,\u00a0s",
        "p,\u00a0all tests",
        "95\u00a0% bound",
        "Naive r",
        "Detects |r|\u00a0≥",
    )
    question = comparison.chosen[0] if comparison.chosen else None
    text = (
        f"{question.x} and {question.y} of {question.role}, each run analysed by itself. Detects: the "
        "smallest "
        "coupling that the run alone would show nine times out of ten. Naive r: Pearson on raw values, no "
        "evidence."
        if question
        else "No pair of signals is compared. The verdicts are those of the whole runs."
    )
    notes = [
        f"Run {place} is {repeat_text(run, comparison)}. They count once."
        for place, run in enumerate(comparison.runs, 1)
        if run.repeats is not None
    ]
    return Html(
        element("h2", "Each run by itself")
        + element("p", text, class_="note")
        + table(names, rows, "nwnntnnnnnnn", "Runs", stack=True)
        + items(notes, class_="plain")
    )


def _run_row(place: int, run: ComparedRun) -> tuple[object, ...]:
    name = element("strong", run.name) if run.name != run.run_id else Html("")
    which = Html(name + ("<br>" if name else "") + element("small", breakable(run.run_id)))
    seed = _DASH if run.seed is None else run.seed
    detects = _number(run.smallest_detectable_r, ".2f")
    pair = run.pair
    if pair is None:
        return (place, which, seed, f"{run.minutes:.1f}", _verdict(run.verdict), *(_DASH,) * 6, detects)
    numbers = [
        _number(value, form)
        for value, form in (
            (pair.r, "+.2f"),
            (pair.lag_s, "+.0f"),
            (pair.p_adjusted, ".2g"),
        )
    ]
    numbers += [bound_text(pair.half_width), _number(pair.pearson_r, "+.2f")]
    verdict = _verdict(pair.verdict)
    return (place, which, seed, f"{run.minutes:.1f}", verdict, f"{pair.n:,}", *numbers, detects)


def _verdict(verdict: str) -> Html:
    return element("span", verdict.replace("_", " "), class_=f"v-{verdict}")


def _number(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return _DASH
    return format(value, form).replace("-", "−")


def forest_section(comparison: Comparison, image: bytes | None) -> Html:
    """Return the forest plot, or why there is none."""
    title = element("h2", "All trainings together")
    best = best_of(comparison)
    if best is None or image is None:
        text = "Nothing to pool: at least two different trainings with the same two signals are needed."
        return Html(title + element("p", text, class_="empty"))
    note = (
        f"{best.x} and {best.y}, residual correlation of each run at the lag that the OTHER runs chose (a "
        "run's own "
        "peak would be large by selection), with its 95 % interval, and all of them pooled by random effects "
        "(Hartung-Knapp-Sidik-Jonkman, simultaneous over the lags)."
    )
    share = f"{100 * best.swap.i_squared:.0f} %"
    spread = f"Of the differences between the runs, {share} are more than sampling error (I²)."
    control = (
        f"Control: the naive r is {_number(best.naive_own, '+.2f')} with a run's own hardware (median) and "
        f"{_number(best.naive_others, '+.2f')} with the hardware of the other runs, which cannot be "
        "coupled to it."
    )
    parts = [
        title,
        element("p", note, class_="note"),
        chart_box("forest", "Forest plot of the runs"),
        still(image, note),
    ]
    parts += [element("p", spread), element("p", control) if math.isfinite(best.naive_others) else Html("")]
    parts.append(element("p", change_line(comparison)) if change_line(comparison) else Html(""))
    return Html("".join([*parts, items(best.swap.reasons, class_="plain note")]))


def overlays_section(comparison: Comparison, image: bytes | None) -> Html:
    """Return the curves of all runs over each other."""
    if image is None:
        return Html("")
    key = items([_key_entry(place, run) for place, run in enumerate(comparison.runs)], class_="key")
    text = "All runs over each other"
    live = element("div", key, zoom_buttons("overlays", "Whole range"), class_="live")
    box = chart_box("overlays", f"{text}. Arrow keys read values, plus and minus zoom.", keyboard=True)
    note = element("div", element("p", ZOOM_HELP, class_="note no-print"), class_="live")
    return Html(element("h2", text) + live + box + note + still(image, text))


def _key_entry(place: int, run: ComparedRun) -> Html:
    colour, dashes = run_style(place)
    drawn = f' stroke-dasharray="{_DASHES[dashes]}"' if dashes else ""
    path = f'<path d="M0 6h20" stroke-width="2.5" stroke="var(--device-{colour})"{drawn}/>'
    sign = Html(f'<svg viewBox="0 0 20 12" aria-hidden="true">{path}</svg>')
    return Html(sign + element("span", f"run {place + 1}: {run.name}"))


def pairs_across_section(comparison: Comparison) -> Html:
    """Return the session swap of the question and of every other pair."""
    if not comparison.chosen:
        return Html("")
    note = (
        "Session swap: does a run's training fit its own hardware better than other runs' hardware? p is "
        "the share of "
        "exchanges that fit as well. The question is corrected for its two directions, the others for all "
        "of them "
        "together (Holm); they are exploratory."
    )
    parts = [element("h2", "Session swap"), element("p", note, class_="note"), _swap_table(comparison.chosen)]
    if comparison.others:
        parts.append(details(f"{len(comparison.others)} other tests", _swap_table(comparison.others)))
    return Html("".join(parts))


def _swap_table(pairs: list[PairAcross]) -> Html:
    names = (
        "Training",
        "Hardware",
        "Device",
        "Direction",
        "Runs",
        "p",
        "p,\u00a0all tests",
        "Pooled r",
        "95 % interval",
        "Lag,\u00a0s",
        "I²",
    )
    rows = [
        (
            *(pair.x, pair.y, pair.role, pair.family, pair.swap.n_runs),
            *(_number(pair.swap.p, ".2g"), _number(pair.p_adjusted, ".2g"), _number(pair.swap.r, "+.2f")),
            f"{_number(pair.swap.r_low, '+.2f')} to {_number(pair.swap.r_high, '+.2f')}",
            *(_number(pair.lag_s, "+.0f"), _number(pair.swap.i_squared, ".0%")),
        )
        for pair in pairs
    ]
    return table(names, rows, "ttttnnnnnnn", "Session swap", stack=True)


def reproducibility_section(comparison: Comparison) -> Html:
    """Return how far the trainings spread, and what is doubtful."""
    parts = [
        element("h2", "How alike the trainings are"),
        items(reproducibility_lines(comparison), class_="plain"),
    ]
    found = comparison.reproducibility
    rows = [
        (
            place,
            run.run_id,
            _DASH if run.seed is None else run.seed,
            _number(found.final_loss[run.run_id], ".4g"),
        )
        for place, run in enumerate(comparison.runs, 1)
    ]
    parts.append(table(("#", "Run", "Seed", "Final loss"), rows, "ninn", "Final losses"))
    if comparison.warnings:
        parts += [element("h3", "Warnings"), items(comparison.warnings, class_="plain")]
    return Html("".join(parts))


_METHOD = (
    "Runs whose step series repeats another's, to the last bit or step for step, are one training and "
    "count once.",
    "Each pair of signals is put on one clock and cleaned of trend, drivers and its own past, run by run, "
    "as in "
    "“thermograd analyze”. Bin k is the same time since the training began in every run.",
    "Session swap: the mean over runs of the t statistic is taken at every lag; its peak is compared with "
    "the peaks of "
    "all exchanges of hardware between runs, and with random signs within the runs; the larger p counts. "
    "It needs "
    "five different trainings. What all runs share cannot make it significant.",
    "Devices have different names in different runs; they are matched by role: cpu with cpu, first GPU "
    "with first GPU.",
)


def comparison_method(comparison: Comparison) -> Html:
    """Return the method in words, and the command that gives the same again."""
    command = " ".join(shlex.quote(run.run_id) for run in comparison.runs)
    sql = queries_across([run.run_id for run in comparison.runs])
    return Html(
        element("h2", "Method")
        + "".join(element("p", text) for text in _METHOD)
        + element(
            "p",
            "Harris (2020), bioRxiv 2020.11.29.402719: session permutation. IntHout et al. (2014), BMC "
            "Med. Res. "
            "Methodol. 14:25: the interval of the pooled effect.",
            class_="note",
        )
        + element("h2", "Do it again")
        + element("pre", element("code", f"thermograd compare {command}"))
        + element("p", f"This page: {versions_text()}.", class_="note")
        + element("h2", "The SQL behind the numbers", id="sql")
        + "".join(details(name, element("pre", element("code", text))) for name, text in sql.items())
        + element("footer", f"thermograd {thermograd.__version__}")
    )
