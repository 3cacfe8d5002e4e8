"""The pages."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route


def _runs(request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>thermograd</title><p>Runs")


ROUTES = [Route("/", _runs)]
