"""What the page of a run asks for: its timeline, its events as they come, its state, its verdict."""

import asyncio
import math
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from thermograd.analysis.report.charts.theme import theme
from thermograd.analysis.serve.live.feed import Client, Feed, Feeds, sse
from thermograd.analysis.serve.live.verdict_now import VerdictDesk
from thermograd.analysis.serve.pages import page
from thermograd.analysis.serve.serving import json_answer, serving_of
from thermograd.store.runs.catalogue import Run

_SILENCE_S = 15.0  # after which a word is sent, so that nobody between takes the connection for dead
_LOOK_S = 1.0  # at most so long until the end of the server is heeded
_WIDTH = 800
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def _run(request: Request) -> Run:
    return serving_of(request).run(request.path_params["run_id"])


async def _feed(request: Request) -> Feed:
    run = await run_in_threadpool(_run, request)
    return serving_of(request).part(Feeds).of(run)


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text in (None, ""):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HTTPException(400, f"{name} is {text[:40]!r}; a number of seconds is expected")
    return value


async def _page(request: Request) -> Response:
    run = await run_in_threadpool(_run, request)
    told = {"run_id": run.run_id, "themes": {"light": theme("light"), "dark": theme("dark")}}
    return page(request, "run.html", run.name, ["run.js"], data={"run": told}, run=run, here="run")


async def _timeline(request: Request) -> Response:
    from_s, to_s, width = (_number(request, name) for name in ("from_s", "to_s", "width"))
    feed = await _feed(request)
    told = await run_in_threadpool(feed.timeline, from_s, to_s, int(min(width or _WIDTH, 10_000)))
    return Response(told, media_type="application/json", headers=_HEADERS)


async def _state(request: Request) -> Response:
    feed = await _feed(request)
    return Response(await run_in_threadpool(feed.state), media_type="application/json", headers=_HEADERS)


async def _verdict(request: Request) -> Response:
    feed = await _feed(request)
    events, _ = await run_in_threadpool(feed.extent)
    return json_answer(serving_of(request).part(VerdictDesk).ask(_run(request), events))


async def _events(request: Request) -> Response:
    feed, ending = await _feed(request), request.app.state.ending
    return StreamingResponse(_told(feed, ending), media_type="text/event-stream", headers=_HEADERS)


async def _told(feed: Feed, ending: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield what is new of a run until its page is closed, the server ends, or the run is gone."""
    client, silent_s = Client(asyncio.get_running_loop()), 0.0
    feed.join(client)
    try:
        yield b"retry: 1000\n\n" + sse("hello", {})
        while not ending.is_set():
            feed.use()
            message = await client.next(_LOOK_S)
            silent_s = 0.0 if message else silent_s + _LOOK_S
            if message:
                yield message
            elif feed.is_over:
                return
            elif silent_s >= _SILENCE_S:
                silent_s = 0.0
                yield b": still here\n\n"
    finally:
        feed.leave(client)


_API = "/api/run/{run_id}"
ROUTES = [
    Route("/run/{run_id}", _page),
    Route(f"{_API}/timeline", _timeline),
    Route(f"{_API}/events", _events),
    Route(f"{_API}/state", _state),
    Route(f"{_API}/verdict", _verdict, methods=["POST"]),
]
