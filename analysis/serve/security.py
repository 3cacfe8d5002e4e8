"""Who is answered, what every answer forbids a browser, and how much one request may be.

A page of this server must not be read or used by another page that is open in the same browser, nor by one
that has made a name of its own point here (DNS rebinding). So every request has to call the server by a name
of its own, come from its own pages or from a person, and where the server is open to a network, to carry the
token, which after its first use is a cookie. Written to the interface of ASGI itself: a stream of events
passes through as it comes.
"""

import asyncio
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from thermograd.analysis.serve.serving import Refused, told_answer
from thermograd.store.listening.tokens import bearer_of, is_secret_given

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]{2,60}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_READS = ("GET", "HEAD")
_MOST_BODY_BYTES = 256 << 10
_MOST_BODY_S = 15.0
_SENT_AT_ONCE = 64 << 10
_ASK = (
    "<form class='row' action='/'><label>Token "
    "<input name='token' type='password' autocomplete='current-password'></label> "
    "<button>Open</button></form>"
)


@dataclass(frozen=True)
class Allowed:
    """Who is answered.

    Attributes
    ----------
    names
        What the server may be called in an address, without the port: ``ssh -L`` gives it any.
    token
        What a request has to carry; None where everybody who reaches the server may read.
    """

    names: frozenset[str] = LOOPBACK
    token: str | None = field(default=None, repr=False)

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of the cookie; the value does not tell the token, the name is this server's own."""
        key = (self.token or "").encode()
        name, value = (hmac.digest(key, text, hashlib.sha256).hex() for text in (b"name", b"value"))
        return f"thermograd-{name[:8]}", value

    def knows(self, headers: Headers) -> bool:
        """Return whether a request carries the cookie, or the token as a program sends it."""
        if self.token is None:
            return True
        name, value = self.cookie
        bearer = bearer_of(headers.get("authorization", ""))
        return is_secret_given(_cookie(headers, name), value) or is_secret_given(bearer, self.token)


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


class Guarded:
    """The application behind checks of name, origin, token and size, in front of every route."""

    def __init__(self, app: ASGIApp, allowed: Allowed) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            check(scope, self._allowed)
            await self._app(scope, _bounded(scope, receive), answer.send)
        except Refused as refused:
            if answer.begun:
                raise
            await told_answer(scope["path"], refused)(scope, receive, answer.send)


def check(scope: Scope, allowed: Allowed) -> None:
    """Raise Refused, with what to answer, where a request is not to be answered by the application."""
    headers = Headers(scope=scope)
    _check_name(headers, allowed)
    _check_path(scope)
    _check_origin(scope, headers)
    _check_size(headers)
    if allowed.token is not None:
        _take_token(scope, allowed)
        _check_token(scope, headers, allowed)


def _check_name(headers: Headers, allowed: Allowed) -> None:
    found = _HOST.fullmatch(headers.get("host", ""))
    if found is None or found["name"].lower() not in allowed.names:
        names = ", ".join(sorted(allowed.names))
        raise Refused(421, f"this server is not called so; it answers to: {names} (--allow-host adds a name)")


def _check_path(scope: Scope) -> None:
    path = scope["path"]
    if not path.isprintable() or "\\" in path or ".." in path.split("/"):
        raise Refused(400, "this is no path of this server: it has .., a backslash or a control character")


def _check_origin(scope: Scope, headers: Headers) -> None:
    method, site = scope["method"], headers.get("sec-fetch-site", "none")
    if method not in (*_READS, "POST"):
        raise Refused(405, "the server knows GET, HEAD and POST", {"Allow": "GET, HEAD, POST"})
    is_own = _is_own(headers.get("origin"), headers["host"])
    if method == "POST":
        if not is_own or site not in ("same-origin", "none") or headers.get("x-thermograd") != "1":
            raise Refused(403, "only the server's own pages may ask for this (Origin, X-Thermograd: 1)")
    elif not is_own or (site not in ("same-origin", "none") and not _is_visit(headers)):
        raise Refused(403, "another site's page may link to this server, and not load from it")


def _is_own(origin: str | None, host: str) -> bool:
    """Return whether an origin is the server's own; a browser that reads its own pages tells none."""
    if origin is None:
        return True
    try:
        scheme, name = urlsplit(origin)[:2]
    except ValueError:  # a bracket without its other
        return False
    return scheme in ("http", "https") and name == host.lower()  # https: behind a proxy that the user trusts


def _is_visit(headers: Headers) -> bool:
    """Return whether a person follows a link to a page, in a window of its own."""
    told = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return told == ("navigate", "document")


def _check_size(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 15 or int(length) > _MOST_BODY_BYTES:
        raise _too_large()


def _too_large() -> "Refused":
    text = f"a request may have {_MOST_BODY_BYTES >> 10} KiB; this one is larger, and was not read"
    return Refused(413, text, {"Connection": "close"})


def _take_token(scope: Scope, allowed: Allowed) -> None:
    """Make the token of an address a cookie, and lead to the address without it."""
    asked = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)
    given = [value for name, value in asked if name == "token"]
    assert allowed.token is not None
    if scope["method"] != "GET" or not any(is_secret_given(value, allowed.token) for value in given):
        return
    name, value = allowed.cookie
    rest = urlencode([(key, text) for key, text in asked if key != "token"])
    place = "/" + scope["raw_path"].decode("ascii", "replace").lstrip("/") + (f"?{rest}" if rest else "")
    cookie = f"{name}={value}; HttpOnly; SameSite=Strict; Path=/"
    headers = {"Location": place, "Set-Cookie": cookie, "Cache-Control": "no-store"}
    raise Refused(303, "the token is known now; the address without it", headers)


def _check_token(scope: Scope, headers: Headers, allowed: Allowed) -> None:
    if allowed.knows(headers) or scope["path"].startswith("/static/"):  # those are everybody's
        return
    again = ""
    if _is_visit(headers) and headers.get("sec-fetch-site") not in ("same-origin", "none"):
        again = "<meta http-equiv='refresh' content='0'>"  # a link elsewhere: the cookie comes from here only
    text = "this server asks for its token; open the address that its terminal shows, or give the token"
    raise Refused(401, text, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}, _ASK + again)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Return what reads a request's body: no more than is allowed, and in no more than some seconds."""
    taken, is_whole, until_s = 0, False, asyncio.get_running_loop().time() + _MOST_BODY_S

    async def received() -> Message:
        nonlocal taken, is_whole
        if is_whole:  # what is waited for now is the end of the connection
            return await receive()
        try:
            async with asyncio.timeout_at(until_s):
                message = await receive()
        except TimeoutError:
            close = {"Connection": "close"}
            raise Refused(408, f"the request did not come within {_MOST_BODY_S:.0f} s", close) from None
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if taken > _MOST_BODY_BYTES:
            raise _too_large()
        return message

    return received


class _Answer:
    """One answer on its way: with our headers, and in parts that wait for a client that reads slowly."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            own = {name for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS.items() if name not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        body = message.get("body", b"")
        for begin in range(_SENT_AT_ONCE, len(body), _SENT_AT_ONCE):
            part = body[begin - _SENT_AT_ONCE : begin]
            await self._send({"type": message["type"], "body": part, "more_body": True})
        if len(body) > _SENT_AT_ONCE:
            message = {**message, "body": body[(len(body) - 1) // _SENT_AT_ONCE * _SENT_AT_ONCE :]}
        await self._send(message)
