"""Alerts by way of `apprise`: Slack, Discord, e-mail, and what else it knows."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thermograd.stream.sinks.base import Message, SinkError

_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
_TALKATIVE = ("apprise", "urllib3", "requests", "asyncio", "paho")  # what they log may hold the address


class AppriseSink:
    """Sends each alert to the service that one of apprise's URLs names, its picture as an attachment.

    What takes none (Slack by a webhook's address) gets the text.

    apprise (extra ``alerts``) is imported with the first message. Its own log lines may quote
    addresses, so it and the libraries under it are silenced in this process.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._service: Any = None

    def send(self, message: Message) -> None:
        """Send it and wait for the service."""
        if self._service is None:
            self._service = _connect(self._url)
        notify_type = _TYPES.get(message.severity, "warning")
        try:
            with _attached(message.png) as attach:
                sent = self._service.notify(
                    body=message.text, title=message.title, notify_type=notify_type, attach=attach
                )
        except Exception as error:  # noqa: BLE001 - a plugin's own; its text may hold the address
            raise SinkError(type(error).__name__) from None
        if not sent:
            raise SinkError("the service refused it or cannot be reached")


@contextmanager
def _attached(png: bytes | None) -> Iterator[str | None]:
    """Give the path of a picture, as which every version of apprise takes it; None for none."""
    if png is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="thermograd-") as folder:
        path = Path(folder) / "thermograd.png"
        path.write_bytes(png)
        yield str(path)


def _connect(url: str) -> Any:
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
        logger.handlers = [logging.NullHandler()]
    try:
        import apprise
    except ImportError:
        raise SinkError("it needs apprise: pip install 'thermograd[alerts]'", permanent=True) from None
    service = apprise.Apprise()
    if not service.add(url):
        raise SinkError("its url is none that apprise knows", permanent=True)
    return service
