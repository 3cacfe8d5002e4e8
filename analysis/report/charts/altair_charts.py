"""The page's charts as Altair charts that need no page: data, colours, title, key and choices are in each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode
from thermograd.analysis.report.alt.run import Words
from thermograd.analysis.report.charts.style import Rows, Spec, as_xml_has_it, heading, named, tooltip
from thermograd.analysis.report.charts.theme import Theme, theme

_GROUND: dict[Theme, str] = {"light": "#ffffff", "dark": "#15181c"}  # the page's
_CLASSES: dict[str, Any] = {"layer": alt.LayerChart, "concat": alt.ConcatChart, "vconcat": alt.VConcatChart}
_OF_THE_PAGE = ("$schema", "usermeta", "datasets")
_LONGEST = 80  # letters of a choice


@dataclass(frozen=True)
class Choice:
    """What a reader chooses in a chart: the parameter that is set, the name of each of its values."""

    parameter: str
    names: Mapping[int, str]
    is_named: bool = False  # whether the chart says by itself what is chosen


def altair_chart(spec: Spec, told: Words, stamp: str, choice: Choice | None, look: Theme) -> Any:
    """Return a chart of the page as an Altair chart with its data, which draws the same in a notebook.

    `stamp` stands below the title. Nothing is checked here, as Altair does so when a chart is shown or saved.
    """
    own = as_xml_has_it({name: part for name, part in spec.items() if name not in _OF_THE_PAGE})
    rows: Rows = as_xml_has_it(spec["datasets"])
    drawn = {row["d"] for part in rows.values() for row in part if "d" in row}
    for view in _views(own):
        _explain(view, rows, drawn)
    if choice is not None:
        _let_choose(own, rows, choice)
    own["title"] = as_xml_has_it({"text": told.title, "anchor": "start", "offset": 12})
    own["title"] |= {"subtitle": as_xml_has_it(stamp)} if stamp else {}
    own |= {"description": as_xml_has_it(told.text), "background": _GROUND[look]}
    (kind,) = _CLASSES.keys() & own.keys()
    with debug_mode(False):
        chart = _CLASSES[kind].from_dict(own | {"config": theme(look)}, validate=False)
    chart.datasets = rows  # beside the views, as in the page: several draw the same rows
    return chart


def _views(spec: Spec) -> Iterator[Spec]:
    """Yield the views of a chart that draw something."""
    if "mark" in spec:
        yield spec
    for kind in _CLASSES:
        for inner in spec.get(kind, ()):
            yield from _views(inner)


def _explain(view: Spec, rows: Rows, drawn: set[str]) -> None:
    """Give a view the key of its colours, and what a pointer is told: the page has them beside the chart."""
    encoding = view["encoding"]
    colour = encoding.get("color", {})
    if colour.get("type") == "quantitative":
        colour["legend"] = {"title": "time in s"}
    elif colour:
        labels = [label for label in colour["scale"]["domain"] if label in drawn]
        colour["legend"] = {"title": None, "orient": "bottom", "symbolType": "stroke", "values": labels}
    first = rows[view["data"]["name"]][:1]
    if first and "text" in first[0] and "tooltip" not in encoding:
        encoding["tooltip"] = tooltip(what=("what", ""), text=("told", ""))


def _let_choose(own: Spec, rows: Rows, choice: Choice) -> None:
    """Offer what can be chosen; where the chart does not say what is, write that above it."""
    if not choice.is_named:
        told = [{"k": k, "name": as_xml_has_it(name)} for k, name in choice.names.items()]
        label = heading(named(rows, "chosen", told).where(f"datum.k === {choice.parameter}"))
        views = own.get("concat", [own])[0]["layer"]
        views.append(label | {"mark": label["mark"] | {"dy": -36}})
    if len(choice.names) > 1:
        names = [as_xml_has_it(name)[:_LONGEST] for name in choice.names.values()]
        offered = {"input": "select", "options": list(choice.names), "labels": names}
        (parameter,) = own["params"]
        parameter["bind"] = offered | {"name": f"{choice.parameter} "}
