"""Alerts to a webhook. Its address is a secret: no error, log line or representation holds it."""

import base64
from urllib.parse import urlsplit

from thermograd.store.errors import ConfigError
from thermograd.store.listening.addresses import is_loopback
from thermograd.store.text import strict_json
from thermograd.stream.sinks.base import Message


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
        from thermograd.stream.sinks.posting import post  # a megabyte that only who posts needs

        post(self._url, body.encode(), self._headers, self._timeout_s)


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
