"""The figures of a run's report as files, the stills of its page, and what each shows in words."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from thermograd.analysis.report.alt.experiment import blocks_words, found_words
from thermograd.analysis.report.alt.run import (
    Words,
    cross_words,
    lag_words,
    memory_words,
    panel_words,
    simulated_words,
    spikes_words,
    throttling_words,
    timeline_words,
)
from thermograd.analysis.report.data.contents import Contents
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.report.page.document import GENERATOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from thermograd.analysis.report.charts.paper.style import PrintStyle

IMAGES = ("png", "pdf", "svg")
_STILL_BUCKETS = 250  # of a curve in the page's still: it is printed 10 cm wide
_STILL_POINTS = 200


def figures_and_stills(
    contents: Contents, style: "PrintStyle | None", alone: bool
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the run's figures by file name, and by chart the pictures for print and where no script runs."""
    from thermograd.analysis.report.charts.style import images_beside

    def drawn_here() -> tuple[dict[str, bytes], dict[str, bytes]]:
        files = _figure_files(contents, style, alone)
        return files, _stills(contents, files.get("lag_profile.svg") if style is None else None)

    (files, stills), charts = images_beside(_pictured(contents), drawn_here)
    from thermograd.analysis.report.charts.paper.canvas import described_svg

    told = shown_in_words(contents)
    return files, stills | {
        name: described_svg(svg.decode(), told[name]).encode() for name, svg in charts.items()
    }


def _figure_files(contents: Contents, style: "PrintStyle | None", alone: bool) -> dict[str, bytes]:
    """Return the run's figures by file name, each as PNG, PDF and SVG; if asked for each panel alone too."""
    from thermograd.analysis.report.charts.paper.canvas import encode_figure

    told = shown_in_words(contents)
    figures = [("figure", _timeline(contents, contents.panels, style), told["timeline"])]
    if contents.pairs:
        figures.append(("lag_profile", _lags(contents, style), told["lag"]))
    figures += _alone(contents, style) if alone else ()
    return {
        f"{name}.{kind}": encode_figure(figure, kind, words)
        for name, figure, words in figures
        for kind in IMAGES
    }


def _timeline(contents: Contents, panels: Panels, style: "PrintStyle | None") -> "Figure":
    from thermograd.analysis.report.charts.print_figure import build_figure

    named = style is None or style.run_named
    below = [_simulated(contents), contents.lacks] + [f"{contents.data.run.run_id}, {GENERATOR}"] * named
    title = contents.data.run.name * named
    return build_figure(panels, title, " ".join(filter(None, below)), style)


def _lags(contents: Contents, style: "PrintStyle | None") -> "Figure":
    from thermograd.analysis.report.charts.paper.lags import lag_figure

    return lag_figure(*contents.pairs[0], _simulated(contents), style)


def _alone(contents: Contents, style: "PrintStyle | None") -> "Iterator[tuple[str, Figure, Words]]":
    """Yield each panel that has something to show by itself, then the lanes of throttling."""
    from thermograd.analysis.report.charts.print_figure import build_figure

    panels, run, told = contents.panels, contents.data.run, simulated_words(contents.data)
    below = _simulated(contents)
    for panel in (*panels.shown, *panels.folded):
        figure = build_figure(panels, "", below, style, [panel], throttling=False)
        yield f"figure_{panel.key}", figure, panel_words(panel, panels, run.name, told)
    if panels.throttling.causes:
        yield (
            "figure_throttling",
            build_figure(panels, "", below, style, []),
            throttling_words(panels, run.name, told),
        )


def _simulated(contents: Contents) -> str:
    return "Simulated hardware." * any(device.simulated for device in contents.data.devices.values())


def _stills(contents: Contents, lag_profile: bytes | None) -> dict[str, bytes]:
    """Return the page's pictures that are drawn as the figures are, as SVG."""
    from thermograd.analysis.report.charts.paper.canvas import encode_figure

    told = shown_in_words(contents)
    small = _timeline(contents, contents.panels.thinned(_STILL_BUCKETS), None)
    drawn = {"timeline": encode_figure(small, "svg", told["timeline"])}
    if contents.pairs:
        drawn["lag"] = lag_profile or encode_figure(_lags(contents, None), "svg", told["lag"])
    return drawn


def _pictured(contents: Contents) -> dict[str, dict[str, Any]]:
    """Return the specifications of the page's other pictures, by chart."""
    from thermograd.analysis.report.charts.experiment import blocks_chart, found_chart
    from thermograd.analysis.report.charts.pairs import cross_chart, memory_chart, spikes_chart

    first = contents.evidence[:1]
    specs = {
        "cross": cross_chart(first, _STILL_POINTS),
        "memory": memory_chart(first),
        "spikes": spikes_chart(contents.spikes[:1]),
    }
    if contents.experiment is not None:
        specs |= {
            "blocks": blocks_chart(contents.experiment, contents.panels),
            "found": found_chart(contents.experiment),
        }
    return {name: spec for name, spec in specs.items() if spec}


def shown_in_words(contents: Contents) -> dict[str, Words]:
    """Return what each figure of the page shows, by its name; what is not drawn has no entry."""
    panels, told = contents.panels, simulated_words(contents.data)
    name = contents.data.run.name
    found = {
        "timeline": timeline_words(panels, panels.printed, name, told),
        "panels": timeline_words(panels, panels.shown, name, told),
        "more": timeline_words(panels, panels.folded, name, told),
    }
    if contents.pairs:
        found["lag"] = lag_words(*contents.pairs[0], told)
    if contents.evidence:
        first = contents.evidence[0]
        label = contents.pairs[first.place][0]
        found |= {"cross": cross_words(first, label, told), "memory": memory_words(first, label, told)}
    if contents.spikes:
        found["spikes"] = spikes_words(contents.spikes[0], told)
    if contents.experiment is not None:
        found["blocks"] = blocks_words(contents.experiment, told)
        found["found"] = found_words(contents.experiment, told)
    return found
