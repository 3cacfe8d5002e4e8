"""Alerts to a webhook. Its address is a secret: no error, log line or representation holds it."""

import base64
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from thermograd.store.errors import ConfigError
from thermograd.store.listening.addresses import is_loopback
from thermograd.store.text import strict_json
from thermograd.stream.sinks.base import Message, SinkError

_TRY_AGAIN = (408, 425, 429)  # the only client errors that another attempt may mend


class WebhookSink:
    """Posts each alert as one JSON object: the alert's columns, ``run_id``, ``run``, ``text``.

    With a picture it has ``image_png_base64``, too.

    Redirects are not followed: they could lead out of the encrypted connection. The `token`, if given, is
    sent as ``Authorization: Bearer``; `timeout_s` is for connecting and for each answer.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = 10.0) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._headers = {"Content-Type": "application/json", "User-Agent": "thermograd"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, message: Message) -> None:
        """Post it and wait for the answer."""
        told = dict(message.values) | {"text": f"{message.title}: {message.text}"}
        if message.png is not None:
            told["image_png_base64"] = base64.b64encode(message.png).decode("ascii")
        body = strict_json(told)
        post(self._url, body.encode(), self._headers, self._timeout_s)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
    """Post and wait for the answer; SinkError, without the address, where that fails."""
    try:
        request = urllib.request.Request(url, body, dict(headers), method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as response:
            response.read(4096)
    except urllib.error.HTTPError as error:
        error.close()
        permanent = 300 <= error.code < 500 and error.code not in _TRY_AGAIN
        raise SinkError(f"it answered HTTP {error.code}", permanent) from None
    except (OSError, HTTPException, ValueError) as error:  # their own texts may hold the address
        raise SinkError(_why(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        error = reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "host not found"
    code = getattr(error, "errno", None)
    return os.strerror(code) if isinstance(code, int) and code > 0 else type(error).__name__


def check_url(url: str, where: str) -> None:
    """Refuse, by ConfigError, a webhook's address that is neither https nor http to this machine.

    One with ``user:password@`` is refused, too: it would be taken for a part of the host's name, and so be
    told to whoever is asked for that. The sentence says what is allowed; it never shows the address.
    """
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname or "", "@" in parts.netloc
        known = url.isprintable() and " " not in url and (parts.port is None or parts.port > 0)
    except ValueError:
        known, host, has_user = False, "", False
    if has_user:
        raise ConfigError(
            f"{where} holds a user name or password, which would not be sent; allowed: an address without, "
            "and a token beside it (sent as Authorization: Bearer)"
        )
    if known and host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return
    raise ConfigError(f"{where} is no address to post to; allowed: https://..., or http:// to this machine")
