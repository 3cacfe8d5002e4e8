"""What a sink is, the message that it gets, and the one that writes lines of JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from thermograd.store.text import strict_json


class SinkError(Exception):
    """A message was not sent; the text never holds an address or a secret.

    Parameters
    ----------
    reason
        What happened, for the report.
    permanent
        Whether another attempt is pointless.
    """

    def __init__(self, reason: str, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Message:
    """What a sink sends.

    Parameters
    ----------
    title, text
        For people: one line each, without control characters.
    severity
        Of the alert.
    values
        For programs: the alert's columns, run id and name, and how many like it were held back.
    """

    title: str
    text: str
    severity: str
    values: Mapping[str, Any]


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
