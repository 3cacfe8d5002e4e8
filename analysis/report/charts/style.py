"""What the interactive charts share: colours for light and dark, data beside the specification.

Colours that depend on light or dark live in the two configurations of `theme`, which the page hands
to Vega; the specifications only name styles. Text from the run is data here, never an expression.
"""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryFile
from typing import Any, TypeVar

from thermograd.analysis.report.charts.theme import theme
from thermograd.analysis.report.charts.vega_lite import Part, View, channel, rows_of, value
from thermograd.analysis.report.data.curves import Band

Spec = dict[str, Any]
Rows = dict[str, list[dict[str, Any]]]
Done = TypeVar("Done")

WIDTH = 760  # until the page sets it to the room there is
PRINTED_WIDTH = 400
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.4.1.json"
_DRAW = """
import json, sys, vl_convert
charts = json.load(sys.stdin)
json.dump({name: vl_convert.vegalite_to_svg(chart) for name, chart in charts.items()}, sys.stdout)
"""
_LONGEST_S = 120.0  # for all charts of a page, which take a second or two; then they are drawn here
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # the converter aborts


def printed(spec: Spec) -> Spec:
    """Return a chart as wide as a column of print, its letters as large as there."""
    if "concat" in spec:  # side by side
        return spec | {"concat": [view | {"width": PRINTED_WIDTH // 2 + 40} for view in spec["concat"]]}
    if "vconcat" in spec:
        return spec | {"vconcat": [view | {"width": PRINTED_WIDTH} for view in spec["vconcat"]]}
    return spec | {"width": PRINTED_WIDTH}


def image(spec: Spec) -> bytes:
    """Return a chart as it looks on paper, as SVG."""
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(_on_paper(spec))
    return drawn.encode()


def _on_paper(spec: Spec) -> Spec:
    """Return what the converter is given to draw a chart."""
    config = theme("light") | {"aria": False, "background": "white"}
    given = {name: value for name, value in printed(spec).items() if name != "usermeta"} | {"config": config}
    drawable: Spec = as_xml_has_it(given)
    return drawable


def images_beside(specs: Mapping[str, Spec], work: Callable[[], Done]) -> tuple[Done, dict[str, bytes]]:
    """Return what some other work gives, and charts as they look on paper.

    These are drawn by another process, on another processor where there is one: while the converter draws, no
    other thread of its own process runs. It ends with the work where that is cut short.
    """
    if not specs:
        return work(), {}
    with ExitStack() as until_drawn:
        try:
            drawn = until_drawn.enter_context(_drawn_elsewhere(specs))
        except OSError:
            drawn = dict[str, str]
        done, images = work(), drawn()
    return done, {name: images[name].encode() if images else image(spec) for name, spec in specs.items()}


@contextmanager
def _drawn_elsewhere(specs: Mapping[str, Spec]) -> Iterator[Callable[[], dict[str, str]]]:
    """Let another process draw charts; give what waits for their SVG, none where it fails.

    They come and go in files, not in pipes: nobody has to stand by, and Ctrl-C waits for no thread.
    """
    command = [sys.executable or "", "-P", "-c", _DRAW]
    with TemporaryFile() as asked, TemporaryFile() as told:
        asked.write(json.dumps({name: _on_paper(spec) for name, spec in specs.items()}).encode())
        asked.seek(0)
        process = subprocess.Popen(command, stdin=asked, stdout=told, stderr=subprocess.DEVNULL)

        def drawn() -> dict[str, str]:
            with suppress(OSError, ValueError, subprocess.TimeoutExpired):
                if process.wait(_LONGEST_S) == 0:
                    told.seek(0)
                    svg: dict[str, str] = json.load(told)
                    return svg
            return {}

        try:
            yield drawn
        finally:
            process.kill()
            process.wait()


def as_xml_has_it(value: Any) -> Any:
    """Return a specification without the characters that no SVG may hold, as names of strangers do."""
    if isinstance(value, str):
        return _NOT_XML.sub("\ufffd", value)
    if isinstance(value, dict):
        return {as_xml_has_it(key): as_xml_has_it(item) for key, item in value.items()}
    return [as_xml_has_it(item) for item in value] if isinstance(value, list | tuple) else value


def specification(draw: Callable[[Rows], Part]) -> Spec:
    """Return the chart that a function draws, with the rows that it names beside it."""
    rows: Rows = {}
    return {"$schema": _SCHEMA, **draw(rows), "datasets": rows}


def over_time(spec: Spec, unit: str, unit_s: float, panels: list[Spec], alerts: Sequence[str] = ()) -> Spec:
    """Return panels over time that zoom and pan as one; the page reads `panels` and `alerts` at the cursor.

    Shift and the wheel zoom: a wheel alone scrolls the page.
    """
    views = [view["layer"][0]["name"] for view in spec["vconcat"]]
    select = {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"}
    zoom = {"name": "zoom", "select": select, "bind": "scales", "views": views}
    cursor = {"unit": unit, "unit_s": unit_s, "scale": f"{spec['vconcat'][0]['name']}_x"}
    cursor |= {"panels": panels, "alerts": list(alerts)}
    return spec | {"params": [zoom], "usermeta": {"cursor": cursor}}


def named(rows: Rows, name: str, new: list[dict[str, Any]]) -> View:
    """Return a view of rows, which are put beside the specification."""
    rows[name] = new
    return rows_of(name)


def value_scale(lowest: float, highest: float, padding: float) -> Part:
    """Return the scale of a curve; one that never changes has round it what its axis needs to name it.

    Examples
    --------
    >>> value_scale(1.0, 2.0, 8), value_scale(0.01, 0.01, 8)["domain"]
    ({'zero': False, 'padding': 8}, [0.009, 0.011])
    """
    scale: Part = {"zero": False, "padding": padding}
    if lowest != highest or not lowest:
        return scale
    ends = sorted(float(f"{part * lowest:.12g}") for part in (0.9, 1.1))
    return scale | {"domain": ends}


def curves(lines: View, labels: list[str], x: Part, y: Part) -> View:
    """Return one line a series ``s``, each label ``d`` with its colour."""
    return lines.mark("line", strokeWidth=1.3, clip=True).encode(x=x, y=y, detail="s:N", color=colour(labels))


def band_rows(band: Band, unit: float) -> list[dict[str, Any]]:
    """Return a band as rows: place ``t`` in a unit, lowest ``v``, middle ``m``, highest ``h``."""
    columns = (band.time_s / unit, band.low, band.middle, band.high)
    return [
        {"t": number(t), "v": number(low), "m": number(middle), "h": number(high)}
        for t, low, middle, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def band_layers(band: View, x: Part, y: Part) -> list[View]:
    """Return an area from the lowest to the highest of many, and a thin line in their middle."""
    area = band.mark("area", style="many", clip=True, opacity=1)
    line = band.mark("line", style="many-middle", clip=True, strokeWidth=1)
    return [area.encode(x=x, y=y, y2="h:Q"), line.encode(x=x, y=of_field(y, "m:Q"))]


def of_field(place: Part, field: str) -> Part:
    """Return a channel with the same scale and axis for another field."""
    return place | channel(field)


def colour(labels: list[str], field: str = "d:N") -> Part:
    """Return the colours of labels, which the page's own key explains."""
    return channel(field, scale={"domain": labels}, legend=None)


def heading(titles: View) -> View:
    """Return the ``name`` of rows as text above a plot."""
    text = titles.mark("text", align="left", baseline="bottom", fontSize=11, dy=-4)
    return text.encode(x=value(0), y=value(0), text="name:N")


def tooltip(**told: tuple[str, str]) -> list[Part]:
    """Return what a pointer is told: by field its title and its format, which is empty for text."""
    return [
        channel(f"{field}:Q", title=title, format=form) if form else channel(f"{field}:N", title=title)
        for field, (title, form) in told.items()
    ]


def number(value: float | None) -> float | None:
    """Return six digits of a number, None where it is not finite: JSON has no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}") if abs(value) < 1e5 else round(value, 2)
