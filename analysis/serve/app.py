"""The application: every path that the server answers, and what it says where it does not."""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from thermograd.analysis.serve import listing, live, pages, reports, sql
from thermograd.analysis.serve.security import Allowed, Guarded
from thermograd.analysis.serve.serving import Serving, told_answer
from thermograd.store.errors import ThermogradError
from thermograd.store.failures import warn


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
    ]
    told = {HTTPException: _refused, ThermogradError: _failed, Exception: _broken}
    app = _Application(routes=routes, exception_handlers=told)  # type: ignore[arg-type]
    app.allowed = allowed
    app.state.serving = serving
    app.state.ending = asyncio.Event()
    return app


class _Application(Starlette):
    """Everything behind the checks, also what is said of an error that nobody expected."""

    allowed: Allowed

    def build_middleware_stack(self) -> ASGIApp:
        return Guarded(super().build_middleware_stack(), self.allowed)


def _refused(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404 and error.detail == "Not Found":
        error = HTTPException(404, "there is no such page; the list of runs is at /")
    return told_answer(request.url.path, error)


def _failed(request: Request, error: ThermogradError) -> Response:
    return told_answer(request.url.path, HTTPException(400, str(error)))


def _broken(request: Request, error: Exception) -> Response:
    warn("serve: %s: %s: %s", request.url.path, type(error).__name__, error)
    text = "the server could not answer this; its terminal says why"
    return told_answer(request.url.path, HTTPException(500, text))
