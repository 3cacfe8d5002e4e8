"""Posting by HTTP. An address is a secret: no error, log line or representation holds it."""

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from thermograd.stream.sinks.base import SinkError

_TRY_AGAIN = (408, 425, 429)  # the only client errors that another attempt may mend


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
