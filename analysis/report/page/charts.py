"""Parts of the report that hold a chart: each with a key, a still for print, and what to know about it."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thermograd.analysis.display.markup import Html, element, escape, items, table
from thermograd.analysis.display.numbers import shown_number
from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Panels
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.result import Analysis, Pair
from thermograd.analysis.run.wording import event_lines

_COLOURS = 5
_GLYPHS: dict[Kind, tuple[str, str]] = {
    "spike": ("spike", '<circle cx="10" cy="6" r="4.4" fill="none" stroke-width="1.8"/>'),
    "nonfinite": ("spike", '<path d="M6 2l8 8M14 2l-8 8" stroke-width="1.8"/>'),
    "zero": ("spike", '<path d="M6 2l8 8M14 2l-8 8" stroke-width="1.8"/>'),
    "injection": ("mark", '<path d="M5.5 2.5h9L10 10z" stroke="none"/>'),
    "collapse": ("collapse", '<path d="M10 1l5 5-5 5-5-5z" stroke="none"/>'),
    "reported_collapse": ("collapse", '<path d="M5.5 2.5h9L10 10z" stroke="none"/>'),
}
ZOOM_HELP = (
    "Point at a curve to read all values at that time; drag to move in time, hold Shift and turn the "
    "wheel to "
    "zoom. With the keyboard: arrow keys move the cursor, with Shift the window; + and − zoom, 0 shows all."
)


def still(image: bytes, description: str) -> Html:
    """Return a figure for print and for where no script runs."""
    encoded = base64.b64encode(image).decode("ascii")
    return Html(f'<img class="still" alt="{escape(description)}" src="data:image/svg+xml;base64,{encoded}">')


def chart_box(name: str, description: str, keyboard: bool = False) -> Html:
    """Return the place where the page draws a chart.

    Parameters
    ----------
    name
        Of the chart.
    description
        What it shows, for those who do not see it.
    keyboard
        Whether it can be moved with the keyboard.
    """
    focus: dict[str, Any] = {"tabindex": "0", "role": "application"} if keyboard else {"role": "img"}
    plot = element("div", class_="plot")
    return element("div", plot, id=f"chart-{name}", class_="chart live", aria_label=description, **focus)


def timeline_section(panels: Panels, image: bytes, has_chart: bool) -> Html:
    """Return all panels on one clock, with why some are not there."""
    shown = [panel for panel in panels.panels if not panel.reason]
    parts = [element("h2", "Training and hardware on one clock", id="timeline")]
    if has_chart:
        names = ", ".join(panel.title.lower() for panel in shown)
        box = chart_box("timeline", f"Over time: {names}. Arrow keys read values, plus and minus zoom.", True)
        note = element("p", ZOOM_HELP, class_="note no-print")
        live = element("div", _key(panels), zoom_buttons("timeline", "Whole run"), class_="live")
        parts += [live, box, element("div", note, class_="live"), still(image, f"Over time: {names}")]
    four = {panel.key for panel in panels.printed}
    parts += [
        element("p", element("strong", panel.title), f": {panel.reason}", class_="empty")
        for panel in panels.panels
        if panel.reason and panel.key in four
    ]
    notes = [f"{panel.title}: {note}" for panel in shown for note in panel.notes]
    notes += [
        f"Not shown: {p.title.lower()}. {p.reason}" for p in panels.panels if p.reason and p.key not in four
    ]
    more = element(
        "details",
        element("summary", f"Notes on these curves ({len(notes)})"),
        items(notes, class_="note plain"),
    )
    brief = items(notes, class_="note plain")
    return Html("".join([*parts, brief if len(notes) <= 3 else more]))


def zoom_buttons(chart: str, whole: str) -> Html:
    """Return the buttons that zoom a chart over time; `whole` names the one that shows all."""
    names = {"0.5": "Zoom in", "2": "Zoom out", "all": whole}
    buttons = [
        element("button", name, type="button", data_zoom=key, data_chart=chart) for key, name in names.items()
    ]
    return element("div", *buttons, class_="buttons no-print")


def _key(panels: Panels) -> Html:
    """Return what the colours and signs of the panels mean."""
    entries = [
        Html(
            f'<svg viewBox="0 0 20 12" aria-hidden="true"><path d="M0 6h20" stroke-width="2.5" '
            f'stroke="var(--device-{place % _COLOURS})"/></svg>{element("span", label)}'
        )
        for place, label in enumerate(panels.devices.values())
    ]
    for kind in panels.kinds():
        colour, drawing = _GLYPHS[kind]
        style = f'stroke="var(--{colour})" fill="{"none" if colour == "spike" else f"var(--{colour})"}"'
        name = element("span", KIND_NAMES[kind])
        entries.append(Html(f'<svg viewBox="0 0 20 12" aria-hidden="true" {style}>{drawing}</svg>{name}'))
    return items(entries, class_="key")


def pairs_charts_section(
    pairs: list[tuple[str, list[Pair]]], evidence: Sequence[Evidence], images: Sequence[bytes]
) -> Html:
    """Return r over lag, the values against each other and their memory, for one pair at a time.

    Parameters
    ----------
    pairs, evidence
        The pairs that can be chosen, and the values behind those that have them.
    images
        Stills of the first pair: its lag profile, and the values behind it if there are any.
    """
    title = element("h2", "Who leads, and by how much", id="lags")
    if not pairs:
        text = "No lag profile: too little of the run holds a training signal and a hardware signal together."
        return Html(title + element("p", text, class_="empty"))
    options = [element("option", label, value=place) for place, (label, _) in enumerate(pairs)]
    names = {"data_chart": "lag cross memory", "data_signal": "pair"}
    choice = element(
        "label", "Pair of signals ", element("select", *options, id="lag-pair", **names), class_="live"
    )
    parts = [
        title,
        element("p", _LAG_NOTE, class_="note"),
        choice,
        chart_box("lag", "Residual correlation over lag"),
    ]
    parts.append(still(images[0], f"Residual correlation over lag: {pairs[0][0]}"))
    if evidence:
        parts += [
            element("h3", "The values behind it"),
            element("p", _CROSS_NOTE, class_="note"),
            element("p", "Colour: early", element("span", class_="ramp"), "late in the run", class_="note"),
            chart_box("cross", "Raw values and residuals against each other, time as colour"),
            element("h3", "How long each signal remembers"),
            element("p", _MEMORY_NOTE, class_="note"),
            chart_box("memory", "Autocorrelation of both signals, raw and as residuals"),
            items([_worth(pairs[each.place][0], each) for each in evidence[:1]], class_="note plain"),
            still(images[1], f"Values and autocorrelations: {pairs[evidence[0].place][0]}"),
        ]
    return Html("".join(parts))


def _worth(label: str, evidence: Evidence) -> str:
    if not evidence.effective_n < 0.9 * evidence.x.size:  # NaN, or next to no memory
        return f"{label}: n = {evidence.x.size:,} bins."
    return (
        f"{label}: because raw neighbours resemble each other, its n = {evidence.x.size:,} bins are "
        f"worth about "
        f"{evidence.effective_n:,.0f} independent ones for a naive correlation, and a shared trend is not "
        "corrected even then."
    )


_LAG_NOTE = (
    "Correlation of what is left after trends, drivers and own past are taken out. The grey band holds "
    "the whole profile of an uncoupled pair 95 times in 100, in each of the three directions, before "
    "correction for the number of pairs; a point outside is circled. A circle alone is no verdict."
)
_CROSS_NOTE = (
    "Left: raw values; a path that colours run along is a drift that both share, whatever its r. Right: "
    "residuals at the lag of the peak; coupling would slant this cloud while its colours stay mixed."
)
_MEMORY_NOTE = (
    "Grey: raw values; where they stay near 1 the signal drifts, and any other drift correlates with it. "
    "Blue: residuals, which the test compares; most should stay in the band (95 in 100 of "
    "independent values)."
)


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
