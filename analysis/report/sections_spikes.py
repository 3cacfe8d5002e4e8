"""Part of the report about spikes: what the hardware does around them, and what coincides with them."""

from collections.abc import Sequence
from dataclasses import replace

from thermograd.analysis.display.markup import Html, element, items, table
from thermograd.analysis.report.around_spikes import AroundSpikes
from thermograd.analysis.report.page.charts import chart_box, still
from thermograd.analysis.report.page.verdict import shown_number
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.wording import event_lines

_WHICH = (
    "A spike here is a residual of the log gradient norm more than four robust standard deviations up, over "
    "the whole run and after trends and drivers are taken out. The alerts spike.grad are another count: they "
    "were raised live, from each step and its recent past alone."
)
_NOTE = (
    "Mean course of a signal around spikes of the gradient norm, from its level before, minus the same of "
    "quiet windows nearby, so that trends cancel. The "
    "band is the "
    "95 % interval at each time by itself, from the same done at shifted times."
)


def spikes_section(
    found: Sequence[AroundSpikes], reason: str, analysis: Analysis, image: bytes | None
) -> Html:
    """Return the courses around spikes, and what events say of each other.

    Parameters
    ----------
    found, reason
        From `around_spikes.around_spikes`.
    analysis
        The run's.
    image
        Still of the first course, if there is one.
    """
    parts = [element("h2", "Around gradient spikes", id="spikes"), element("p", _WHICH, class_="note")]
    if found and image is not None:
        options = [element("option", each.label, value=place) for place, each in enumerate(found)]
        choice = element(
            "select", *options, data_chart="spikes", data_signal="which", aria_label="Hardware signal"
        )
        parts += [
            element("p", _NOTE, class_="note"),
            element("label", "Hardware signal ", choice, class_="live"),
            chart_box("spikes", "Mean change of a hardware signal around gradient spikes"),
            still(image, f"Around gradient spikes: {found[0].label}"),
            _effects(found),
        ]
    else:
        parts.append(element("p", f"No average around spikes. {reason}", class_="empty"))
    parts.append(_events(analysis))
    return Html("".join(parts))


def _effects(found: Sequence[AroundSpikes]) -> Html:
    header = ("Signal", "Mean change after a spike", "95 % interval", "n spikes", "of", "n quiet windows")
    rows = [
        (
            each.label,
            f"{shown_number(each.effect, '+.3g')} {each.unit}".strip(),
            " to ".join(shown_number(end, "+.3g") for end in (each.effect_low, each.effect_high)),
            f"{each.n_spikes:,}",
            f"{each.n_spikes_found:,}",
            f"{each.n_controls:,}",
        )
        for each in found
    ]
    return table(header, rows, "innnnn", "Change after a spike", stack=True)


def _events(analysis: Analysis) -> Html:
    """Return what spikes, collapses and throttling say of each other, with n and p in each sentence."""
    lines = event_lines(replace(analysis, spike_locked=[]))
    if not lines:
        none = "No throttling, and no spike together with a collapse, was recorded: nothing can coincide."
        return element("p", none, class_="note")
    return Html(element("h3", "Spikes, collapses and throttling") + items(lines, class_="plain"))
