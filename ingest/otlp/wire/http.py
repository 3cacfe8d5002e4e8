"""OTLP over HTTP: what is answered, and how much one sender may ask for.

On uvicorn, as the page is: chunked bodies, keep-alive and broken requests are its business. Here are the
limits: of a body, before and behind gzip; of all bodies together; of the time that one takes. An export is
read and written in one of two threads; its answer is sent when all of it is in the log.
"""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.rpc.status_pb2 import Status
from thermograd.ingest.otlp.received_run import BusyError
from thermograd.ingest.otlp.receiver import Receiver, TooManyError
from thermograd.ingest.otlp.wire.messages import (
    INVALID,
    NOT_FOUND,
    PERMISSION,
    RESOURCES,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    MessageError,
    read_request,
    written_answer,
    written_message,
)
from thermograd.store.listening.tokens import bearer_of, is_secret_given

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MOST_BODY_BYTES = 16 << 20
_MOST_BYTES = 16 << 20  # of all bodies that are read or wait to be written: seconds of work
_MOST_PASSED_BYTES = 256 << 20  # of one that is refused
_MOST_BODY_S = 30.0
_WORKERS = 2
_PATH = "/v1/metrics"
_OTHERS = {"/v1/logs": "logs", "/v1/traces": "traces", "/v1development/profiles": "profiles"}
_TYPES = {"application/x-protobuf": False, "application/protobuf": False, "application/json": True}
_PLAIN = "text/plain; charset=utf-8"
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.I)


class RefusedError(Exception):
    """What is answered instead: HTTP status, gRPC code, a sentence, more headers."""

    def __init__(self, status: int, code: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class Application:
    """Answers requests; an ASGI application.

    `token`: what a request has to carry; None where everybody on this machine may send. `names`: whether
    the server has to be called by a name of this machine, so that no page in a browser reaches it.
    """

    def __init__(self, receiver: Receiver, token: str | None, names: bool) -> None:
        self._receiver, self._token, self._names = receiver, token, names
        self._workers = ThreadPoolExecutor(_WORKERS, "thermograd-otlp")
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in scope["headers"]}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = _TYPES.get(kind, False)
        taken = [0]
        try:
            self._check(scope, headers)
            if kind not in _TYPES:
                raise RefusedError(415, INVALID, f"content type {kind[:80]!r}; allowed: {', '.join(_TYPES)}")
            body = await self._body(headers, receive, taken)
            work = asyncio.get_running_loop().run_in_executor(
                self._workers, self._take, body, headers.get("content-encoding", ""), is_json
            )
            del body
            await _answer(send, 200, await work, kind, {})
        except RefusedError as refused:
            status = Status(code=refused.code, message=str(refused)[:1000])
            told = written_message(status, is_json) if kind in _TYPES else f"{refused}\n".encode()
            await _answer(send, refused.status, told, kind if kind in _TYPES else _PLAIN, refused.headers)
        finally:
            self._bytes -= taken[0]

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        path, method = scope["path"], scope["method"]
        if "origin" in headers or (self._names and not _LOOPBACK.fullmatch(headers.get("host", ""))):
            raise RefusedError(403, PERMISSION, "programs of this machine send here, not pages of a browser")
        given = bearer_of(headers.get("authorization", ""))
        if self._token is not None and not is_secret_given(given, self._token):
            bearer = {"WWW-Authenticate": "Bearer"}
            text = "this receiver asks for its token: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20..."
            raise RefusedError(401, UNAUTHENTICATED, text, **bearer)
        if path in _OTHERS:
            raise RefusedError(404, UNIMPLEMENTED, f"{_OTHERS[path]} are not taken here, only {_PATH}")
        if path != _PATH:
            raise RefusedError(404, NOT_FOUND, f"there is only {_PATH}")
        if method != "POST":
            raise RefusedError(405, UNIMPLEMENTED, "allowed: POST", Allow="POST")

    async def _body(self, headers: dict[str, str], receive: Receive, taken: list[int]) -> bytes:
        """Return the body as it was sent; `taken` is what it takes of the room for all bodies.

        One that is too large is passed over and not kept: a sender that still sends reads no answer.
        """
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 15:
            raise RefusedError(400, INVALID, "Content-Length is no length", Connection="close")
        refused = self._reserve(int(length), taken)  # at once: of many that come together some are taken
        parts: list[bytes] = []
        passed = 0
        try:
            async with asyncio.timeout(_MOST_BODY_S):
                async for part in _parts(receive):
                    passed += len(part)
                    if refused is None:
                        parts.append(part)
                        refused = self._reserve(passed - taken[0], taken)
                    elif passed > _MOST_PASSED_BYTES:
                        raise refused
        except TimeoutError:
            text = f"the request did not come within {_MOST_BODY_S:.0f} s"
            raise RefusedError(408, INVALID, text, Connection="close") from None
        if refused is not None:
            raise refused
        return b"".join(parts)

    def _reserve(self, more: int, taken: list[int]) -> RefusedError | None:
        """Take some of the room for all bodies; return why there is none, if there is not."""
        if taken[0] + more > MOST_BODY_BYTES:
            return _too_large()
        if self._bytes + more > _MOST_BYTES:
            return RefusedError(429, RESOURCES, "too much at once; come again", **{"Retry-After": "1"})
        if more > 0:
            taken[0] += more
            self._bytes += more
        return None

    def _take(self, body: bytes, encoding: str, is_json: bool) -> bytes:
        """Read and write an export, in a thread; return the answer."""
        try:
            request = read_request(unpacked(body, encoding), is_json)
        except MessageError as error:
            raise RefusedError(400, INVALID, str(error)) from None
        try:
            return written_answer(self._receiver.take(request), is_json)
        except TooManyError as error:
            raise RefusedError(413, RESOURCES, str(error)) from None
        except BusyError as error:
            wait = {"Retry-After": str(error.after_s)}
            raise RefusedError(503, UNAVAILABLE, str(error), **wait) from None

    def close(self) -> None:
        """Finish what has begun."""
        self._workers.shutdown(wait=True)


async def _answer(send: Send, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
    told = {"content-type": kind, "content-length": str(len(body)), **headers}
    pairs = [(name.lower().encode(), text.encode("latin-1", "replace")) for name, text in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, INVALID, "the connection ended before the request did")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _too_large() -> RefusedError:
    text = (
        f"a request may have {MOST_BODY_BYTES >> 20} MiB, unpacked too; send less at once "
        "(Python's exporter: max_export_batch_size)"
    )
    return RefusedError(413, RESOURCES, text, Connection="close")


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return what gzip packed, or the body as it is. RefusedError where it is too large, broken, or other."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise RefusedError(415, INVALID, f"content encoding {encoding[:40]!r}; allowed: gzip, identity")
    parts, room = [], MOST_BODY_BYTES
    try:
        while body:
            member = zlib.decompressobj(31)
            part = member.decompress(body, room + 1)
            room -= len(part)
            if room < 0:
                raise _too_large()
            if not member.eof:
                raise RefusedError(400, INVALID, "the gzip ends too early")
            parts.append(part)
            body = member.unused_data
    except zlib.error as error:
        raise RefusedError(400, INVALID, f"no gzip: {error}") from None
    return b"".join(parts)
