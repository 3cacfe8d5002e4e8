"""The application: every path that the server answers, and what it says where it does not."""

import asyncio
from html import escape
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from thermograd.analysis.serve import listing, live, pages, reports, sql
from thermograd.analysis.serve.security import Allowed, Guarded
from thermograd.analysis.serve.serving import Serving, json_answer
from thermograd.store.errors import ThermogradError
from thermograd.store.failures import warn

_STATIC = Path(__file__).parent / "static"


def build_app(serving: Serving, allowed: Allowed) -> Starlette:
    """Return the application.

    Parameters
    ----------
    serving
        The runs, and the server's own folder.
    allowed
        Who is answered.
    """
    routes = [
        *pages.ROUTES,
        *listing.ROUTES,
        *reports.ROUTES,
        *sql.ROUTES,
        *live.ROUTES,
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    told = {HTTPException: _refused, ThermogradError: _failed, Exception: _broken}
    app = Starlette(routes=routes, exception_handlers=told)  # type: ignore[arg-type]
    app.state.serving = serving
    app.state.ending = asyncio.Event()
    app.add_middleware(Guarded, allowed=allowed)
    return app


def _refused(request: Request, error: HTTPException) -> Response:
    return told_answer(request, error.status_code, error.detail, dict(error.headers or {}))


def _failed(request: Request, error: ThermogradError) -> Response:
    return told_answer(request, 400, str(error))


def _broken(request: Request, error: Exception) -> Response:
    warn("serve: %s: %s: %s", request.url.path, type(error).__name__, error)
    return told_answer(request, 500, "the server could not answer this; its terminal says more")


def told_answer(
    request: Request, status: int, sentence: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer that says in one sentence why there is no other: JSON below ``/api``, else a page."""
    if request.url.path.startswith("/api/"):
        answer = json_answer({"error": sentence}, status)
        answer.headers.update(headers or {})
        return answer
    text = f"<!doctype html><title>{status}</title><p>{escape(sentence)}</p><p><a href='/'>All runs</a></p>"
    return HTMLResponse(text, status, headers)
