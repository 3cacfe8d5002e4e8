"""The page around a report: one HTML file with its own scripts and data, which loads nothing.

Charts are Vega-Lite specifications by name; the page draws each into the element ``chart-<name>``.
A ``select`` with ``data-chart`` (names) and ``data-signal`` sets a parameter of them; a link with
``data-time`` shows that time of the chart ``timeline``. Whatever a template is given is text and is
escaped, unless it is `Html` or has ``__html__``.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from thermograd.analysis.display.markup import Html, escape, json_script, typeset
from thermograd.store.errors import MissingExtraError, PlaceError
from thermograd.store.files import write_file
from thermograd.store.places.cache import cache_dir
from thermograd.store.runs.tags import note_text
from thermograd.store.telling.quantities import counted, plural
from thermograd.store.version import __version__

GENERATOR = f"thermograd {__version__}"
_HERE = "thermograd.analysis.report.page"
_EXTRA = {
    "altair": "altair",
    "matplotlib": "matplotlib",
    "tsdownsample": "tsdownsample",
    "vl_convert": "vl-convert-python",
}
OF_PAGE = ("tsdownsample", "vl_convert")  # what a page without pictures needs of them
_OF_FIGURES = ("matplotlib", *OF_PAGE)
OF_CHARTS = ("altair", *OF_PAGE)
_BUNDLE_END = "\n/* end of bundle */\n"
_SCRIPTS = ("charts.js", "contents.js")
_FEW = 255  # different texts in a column, up to which it is kept as a list of them and places in it


def escaping(package: str) -> Environment:
    """Return the templates of a package; they escape whatever is not HTML, with our own `escape`."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def templates() -> Environment:
    """Return the templates of the report's pages."""
    environment = escaping(_HERE)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    environment.filters |= {"typeset": typeset, "counted": counted, "plural": plural, "note_text": note_text}
    return environment


def build_page(template: str, title: str, charts: Mapping[str, Mapping[str, Any] | None], **told: Any) -> str:
    """Return a page from a template, what it is told, and its charts (None where nothing is drawn)."""
    from thermograd.analysis.report.charts.theme import theme

    scripts = ['document.documentElement.classList.add("js");', vega_bundle(), *map(_source, _SCRIPTS)]
    # Only these scripts run, and nothing is loaded from anywhere. 'unsafe-eval' lets Vega compile its
    # expressions: interpreted ones draw in 1.5 to 2.2 s what compiled ones draw in 1.0 s.
    policy = (
        f"default-src 'none'; script-src 'unsafe-eval' {' '.join(map(_script_hash, scripts))}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = [json_script("data-themes", {"light": theme("light"), "dark": theme("dark")})]
    data += [json_script(f"data-{name}", packed(spec)) for name, spec in charts.items() if spec is not None]
    return templates().get_template(template).render(
        title=title,
        policy=policy,
        generator=GENERATOR,
        style=Html(page_style()),
        scripts=list(map(Html, scripts)),
        data=Html("\n".join(data)),
        charted=[name for name, spec in charts.items() if spec is not None],
        **told,
    )  # fmt: skip


def page_style() -> str:
    """Return the style of every page: its colours in light, dark and print, and its elements."""
    return _source("style.css")


def _source(name: str) -> str:
    return (files(_HERE) / "templates" / name).read_text(encoding="utf-8")


def packed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification with its data as columns: a third of the bytes; the page turns them back.

    A column is a list of values, ``{"k": value}`` where all are equal, or ``{"v": values, "i": places}``
    where few different texts repeat.
    """
    datasets = {name: _columns(rows) for name, rows in spec.get("datasets", {}).items()}
    return {**spec, "datasets": datasets}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows[:1] for name in row))
    return {"n": len(rows), "c": {name: _column([row[name] for row in rows]) for name in names}}


def _column(values: list[Any]) -> Any:
    texts = all(isinstance(value, str) for value in values)
    distinct = list(dict.fromkeys(values)) if texts else values[:1]
    if len(distinct) == 1 and all(value == distinct[0] for value in values):
        return {"k": distinct[0]}
    if texts and len(distinct) <= min(_FEW, len(values) // 2):
        places = {value: place for place, value in enumerate(distinct)}
        return {"v": distinct, "i": [places[value] for value in values]}
    return values


def _script_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@cache
def vega_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, kept for next time: making it takes 1.5 s."""
    import vl_convert

    path = None
    with suppress(OSError, ValueError, PlaceError):  # no home
        path = cache_dir() / f"vega-{version('vl-convert-python')}.js"
        if (kept := path.read_text(encoding="utf-8")).endswith(_BUNDLE_END):
            return kept
    text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = text.replace("\r", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--") + _BUNDLE_END
    with suppress(OSError):  # no cache: the next report takes a little longer
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text.encode())
    return text


def require_extra(modules: Iterable[str] = _OF_FIGURES, who: str = "the report needs") -> None:
    """Refuse, naming the first of the packages behind pages, figures and charts that is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{who} {_EXTRA[module]}: install thermograd[report]")
