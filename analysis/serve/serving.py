"""What every answer of the server stands on: the place of the runs, its own folder, and how it answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from thermograd.store.files import is_folder
from thermograd.store.places.known import is_mirror, known_runs
from thermograd.store.runs.catalogue import Run, fetched_runs, is_run
from thermograd.store.text import without_nan

_NO_RUN = "there is no run of that id; the list of runs at / has all that there are"
_PAGE = (
    "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    "<meta name='color-scheme' content='light dark'><title>{0} - thermograd</title>"
    "<link rel='icon' href='data:,'><link rel='stylesheet' href='/static/report.css'>"
    "<link rel='stylesheet' href='/static/serve.css'></head><body><header class='top'>"
    "<a class='brand' href='/'>thermograd</a></header><main><h1>{0}</h1><p>{1}.</p>{2}</main></body></html>"
)

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Serving:
    """What one server serves.

    Attributes
    ----------
    runs
        The place of the runs as it was given: a folder, or a URL.
    folder
        The local folder that the runs are read from: the same, or the mirror of the URL.
    own
        The server's own temporary folder; gone when it ends.
    """

    runs: Path
    folder: Path
    own: Path
    _parts: dict[Any, Any] = field(default_factory=dict, repr=False)

    def part(self, kind: Callable[..., Part], *given: Any) -> Part:
        """Return the one object of a kind that the server has, made as it is first asked for."""
        if kind not in self._parts:
            self._parts.setdefault(kind, kind(*given))
        part: Part = self._parts[kind]
        return part

    def run(self, run_id: str) -> Run:
        """Return a run by its whole id, read afresh; an answer 404 where there is none of that id."""
        path = self.folder / run_id
        is_name = run_id == path.name and run_id[0] != "." and run_id.isprintable() and "\\" not in run_id
        if not is_name:
            raise Refused(404, _NO_RUN)
        for run in self._found(path):
            if is_run(run.path):
                return run
        raise Refused(404, _NO_RUN)

    def _found(self, path: Path) -> list[Run]:
        if not is_mirror(self.folder):
            return [Run(path)] if is_folder(path) else []
        return fetched_runs([Run(path)]) if path.name in known_runs(self.folder) else []


def serving_of(request: Request) -> Serving:
    """Return what the server of a request serves."""
    serving: Serving = request.app.state.serving
    return serving


def json_answer(value: Any, status: int = 200) -> Response:
    """Return an answer in JSON; numbers that are not finite are null, and nothing is kept by the browser."""
    try:
        content = msgspec.json.encode(value, enc_hook=_plain)
    except UnicodeEncodeError:  # half of a surrogate pair, in a name that somebody made up
        content = json.dumps(without_nan(value), default=_plain).encode()
    return Response(content, status, {"Cache-Control": "no-store"}, media_type="application/json")


def query_refused(told: Mapping[str, Any]) -> Response:
    """Return what is wrong with somebody's SQL: an answer, as the request was in order.

    Its header tells it from a result. A status of 4xx a browser would report in its console as a fault.
    """
    answer = json_answer(told)
    answer.headers["X-Refused"] = "query"
    return answer


class Refused(HTTPException):
    """An answer other than what was asked for: a sentence that says why, and what is allowed.

    `more` is HTML of ours below the sentence.
    """

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None, more: str = ""
    ) -> None:
        super().__init__(status, sentence, headers)
        self.more = more


def told_answer(path: str, refused: HTTPException) -> Response:
    """Return an answer that says in one sentence why there is no other: JSON below ``/api``, else a page."""
    status, sentence = refused.status_code, refused.detail
    if path.startswith("/api/"):
        answer = json_answer({"error": sentence}, status)
        answer.headers.update(refused.headers or {})
        return answer
    more = getattr(refused, "more", "")
    return HTMLResponse(
        _PAGE.format(_phrase(status), escape(sentence[:1].upper() + sentence[1:]), more),
        status,
        refused.headers,
    )


def _phrase(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _plain(value: Any) -> Any:
    """Return what JSON has no type for: a scalar of numpy as Python's, anything else as text."""
    if hasattr(value, "to_json"):
        return value.to_json()
    return value.item() if hasattr(value, "item") else str(value)
