"""The pages' frame: templates, and the files that a browser loads beside them. No page loads another host."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from thermograd.analysis.display.markup import Html, json_script
from thermograd.analysis.report.page.document import escaping, page_style, vega_bundle
from thermograd.analysis.serve.serving import serving_of
from thermograd.store.places.place import place_of
from thermograd.store.text import shortened

_HERE = "thermograd.analysis.serve"
_LONGEST_TITLE = 200
_PAGES = (("runs", "/"), ("sql", "/sql"))
VERDICT_WORDS = {
    "coupled": "linked",
    "no_coupling": "no link",
    "inconclusive": "cannot tell",
    "single_event": "one event only",
    "insufficient": "too little data",
    "effect": "effect",
    "no_effect": "no effect",
}
STATE_WORDS = {"live": "running", "crashed": "crashed", "interrupted": "stopped"}
_WORDS = {"verdicts": VERDICT_WORDS, "states": STATE_WORDS}
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


@cache
def _templates() -> Environment:
    return escaping(_HERE)


def page(
    request: Request,
    template: str,
    title: str,
    scripts: Iterable[str] = (),
    data: Mapping[str, Any] | None = None,
    **told: Any,
) -> HTMLResponse:
    """Return a page in the common frame.

    Parameters
    ----------
    request
        Whose server says which runs are shown.
    template
        In ``templates/``; it extends ``base.html`` and fills the block ``main``.
    title
        Of the browser's tab.
    scripts
        ES modules of ``static/``, after ``serve.js``.
    data
        What the scripts read by `pageData`.
    told
        What the template names.
    """
    content = _templates().get_template(template).render(
        title=shortened(title, _LONGEST_TITLE),
        here=told.pop("here", ""),
        pages=_PAGES,
        runs_place=place_of(serving_of(request).runs).url,
        scripts=["serve.js", *scripts],
        data=Html("\n".join(json_script(f"data-{name}", value) for name, value in (data or {}).items())),
        **told,
    )  # fmt: skip
    return HTMLResponse(content)


def framed_page(
    request: Request,
    title: str,
    make: str,
    body: Mapping[str, Any],
    links: Iterable[tuple[str, str]] = (),
    command: str = "",
) -> HTMLResponse:
    """Return the page that has a report made, shows it in a frame, and gives it to be opened and kept.

    Parameters
    ----------
    request, title
        As in `page`.
    make, body
        Where the page asks for it by POST, and with what; ``again`` is added. The answer is a job, which
        ``/api/made/JOB`` tells of until it is done.
    links
        Names and paths of pages that belong to it, such as those of the runs.
    command
        What writes the same in a terminal.
    """
    data = {"framed": {"make": make, "body": body}}
    return page(request, "framed.html", title, ["framed.js"], data, links=links, command=command)


# -- static files ----------------------------------------------------------------------------------------

_MADE: Mapping[str, Callable[[], str]] = {"report.css": page_style, "vega.js": vega_bundle}


@cache
def _static(name: str) -> tuple[bytes, str] | None:
    """Return a file and its tag; None where there is none of this name."""
    if name in _MADE:
        content = _MADE[name]().encode()
    elif name in {path.name for path in (files(_HERE) / "static").iterdir()}:
        content = (files(_HERE) / "static" / name).read_bytes()
    else:
        return None
    return content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _serve_static(request: Request) -> Response:
    name = request.path_params["name"]
    found = _static(name)
    if found is None:
        return Response(status_code=404)
    content, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    media_type = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(content, headers=headers, media_type=media_type)


def _runs_page(request: Request) -> Response:
    return page(request, "runs.html", "Runs", ["runs.js"], data={"words": _WORDS}, here="runs")


def _sql_page(request: Request) -> Response:
    return page(request, "sql.html", "SQL", ["sql.js"], here="sql")


ROUTES = [
    Route("/", _runs_page),
    Route("/sql", _sql_page),
    Route("/static/{name}", _serve_static),
]
