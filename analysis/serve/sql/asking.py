"""SQL over the views for the page: answered in the sandbox, a few at a time, bounded in size and time.

The limits are those of ``query --untrusted``; what the page is shown has narrower ones of its own. A query
whose asker goes away is ended.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from thermograd.analysis.serve.serving import Refused, json_answer, query_refused, serving_of
from thermograd.analysis.serve.sql.error_places import told_error
from thermograd.analysis.serve.sql.schema import examples, views_told
from thermograd.analysis.serve.sql.shown import shown_answer
from thermograd.store.errors import QueryError
from thermograd.store.query.sandbox import FOR_STRANGERS, Stop, answer

_LONGEST_SQL = 100_000
_AT_ONCE, _WAITING = 3, 8
_FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


class Turns:
    """Lets a few queries run at once, and a few more wait."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it for the block; 503 where many wait."""
        if self._waiting >= _WAITING:
            text = f"{_AT_ONCE} queries are being answered and {_WAITING} wait; ask again in some seconds"
            raise Refused(503, text, {"Retry-After": "5"})
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


def _turns(request: Request) -> Turns:
    return serving_of(request).part(Turns)


async def _sql_of(request: Request) -> str:
    try:
        sql = json.loads(await request.body())["sql"]
    except (ValueError, KeyError, TypeError, RecursionError):
        sql = None
    if not isinstance(sql, str) or not sql.strip():
        raise Refused(400, 'the query is missing; the body is {"sql": "SELECT ..."}')
    if len(sql) > _LONGEST_SQL:
        raise Refused(400, f"a query may have {_LONGEST_SQL:,} characters; this one has {len(sql):,}")
    return sql


async def _ask(request: Request) -> Response:
    sql = await _sql_of(request)
    try:
        async with _turns(request).turn():
            return await _while_asked(request, sql)
    except QueryError as error:
        return query_refused(told_error(str(error), sql))


async def _while_asked(request: Request, sql: str) -> Response:
    """Answer; where the asker goes away, or the server ends, end the query, too."""
    stop = Stop()
    shown = partial(shown_answer, sql, serving_of(request).runs, stop)
    work = asyncio.create_task(anyio.to_thread.run_sync(shown))
    others = [asyncio.create_task(_gone(request)), asyncio.create_task(request.app.state.ending.wait())]
    try:
        await asyncio.wait({work, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()  # of no consequence where the answer is whole
        for task in others:
            task.cancel()
    return Response(await work, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Download:
    """Answers with a file, part by part as the browser takes it; with an error where nothing was sent yet."""

    def __init__(self, request: Request, sql: str, output_format: str) -> None:
        self._request, self._sql, self._format = request, sql, output_format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _turns(self._request).turn():
            response = await self._response()
            await response(scope, receive, send)

    async def _response(self) -> Response:
        parts = answer(self._sql, serving_of(self._request).runs, self._format, FOR_STRANGERS)
        try:
            first = await anyio.to_thread.run_sync(next, parts, b"")
        except QueryError as error:
            return query_refused(told_error(str(error), self._sql))
        headers = {
            "Content-Disposition": f'attachment; filename="thermograd.{self._format}"',
            "Cache-Control": "no-store",
        }
        return StreamingResponse(_all(first, parts), headers=headers, media_type=_FORMATS[self._format])


async def _all(first: bytes, parts: Any) -> AsyncIterator[bytes]:
    try:
        yield first
        while (part := await anyio.to_thread.run_sync(next, parts, None)) is not None:
            yield part
    finally:
        parts.close()


async def _download(request: Request) -> Any:
    output_format = request.query_params.get("format", "")
    if output_format not in _FORMATS:
        raise Refused(400, f"format is {output_format[:40]!r}; allowed: {', '.join(_FORMATS)}")
    return _Download(request, await _sql_of(request), output_format)


async def _schema(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "sql_schema"):
        async with _turns(request).turn():
            state.sql_schema = await anyio.to_thread.run_sync(views_told, serving_of(request).own)
    return json_answer(state.sql_schema | {"examples": examples()})


ROUTES = [
    Route("/api/sql", _ask, methods=["POST"]),
    Route("/api/sql/download", _download, methods=["POST"]),
    Route("/api/sql/schema", _schema),
]
