"""Parts of the page that compares runs."""

import math
import shlex

from thermograd.analysis.comparison.entries import ComparedRun
from thermograd.analysis.comparison.result import (
    Comparison,
    best_of,
    change_line,
    comparison_sentence,
    comparison_verdict,
    reproducibility_lines,
)
from thermograd.analysis.display.markup import Html, details, element, items, table, typeset
from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.analysis.report.data.comparison import run_style
from thermograd.analysis.report.page.charts import ZOOM_HELP, chart_box, still, zoom_buttons
from thermograd.analysis.report.page.source import queries_across, versions_text
from thermograd.store.version import __version__

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
        f"Control: the naive r is {shown_number(best.naive_own, '+.2f')} with a run's own hardware (median) "
        f"and {shown_number(best.naive_others, '+.2f')} with the hardware of the other runs, which cannot be "
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
            DASH if run.seed is None else run.seed,
            shown_number(found.final_loss[run.run_id], ".4g"),
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
        + element("footer", f"thermograd {__version__}")
    )
