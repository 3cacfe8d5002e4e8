"""What a sink is, the message that it gets, and the one that writes lines of JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from thermograd.store.text import strict_json


class SinkError(Exception):
    """A message was not sent; the text, for the report, never holds an address or a secret.

    `permanent` is True where another attempt is pointless.
    """

    def __init__(self, reason: str, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Message:
    """What a sink sends.

    `title` and `text` are for people: one line each, without control characters. `values` is for programs:
    the alert's columns, run id and name, and how many like it were held back. `png` is the picture of a
    critical alert, None for none.
    """

    title: str
    text: str
    severity: str
    values: Mapping[str, Any]
    png: bytes | None = field(default=None, repr=False)


class Sink(Protocol):
    """Sends one message."""

    def send(self, message: Message) -> None:
        """Send it; raise `SinkError` where that failed."""


class JsonlSink:
    """Appends each alert to a file as one line of JSON; NaN and the infinities are strings."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message) -> None:
        """Append a line."""
        line = strict_json(message.values) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror or type(error).__name__}") from error
