"""How messages travel: what a transport is, and its address."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from thermograd.store.errors import ConfigError, ThermogradError
from thermograd.store.listening.addresses import bracketed
from thermograd.stream.fleet.brokers.messages import Message
from thermograd.stream.settings import PublishSettings, secret_value

_SCHEMES = {
    "nats": ("nats", 4222),
    "tls": ("nats", 4222),
    "kafka": ("kafka", 9092),
    "kafkas": ("kafka", 9093),
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FORMS = (
    "nats://HOST:4222[/STREAM], tls://HOST:4222[/STREAM], kafka://HOST:9092/TOPIC, kafkas://HOST:9093/TOPIC"
)


class TransportError(ThermogradError):
    """The broker could not be used; the text, for people, never holds a secret."""


class RefusedError(TransportError):
    """The broker is there and will not have us: trying again is of no use."""


class Received(NamedTuple):
    """A message's bytes, and when it arrived by one clock of the broker's or the consumer's, epoch ns."""

    data: bytes
    arrived_ns: int


class Sender(Protocol):
    """Publishes messages."""

    def send(self, messages: Sequence[Message], wait_s: float) -> None:
        """Return when the broker has all of them; raise `TransportError` where that is not known.

        What was sent may be sent again: the broker or the consumer knows it by its identity.
        """

    def close(self) -> None:
        """Let go of the broker; never raises."""


class Receiver(Protocol):
    """Receives the messages of the whole fleet."""

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Return messages, none where none came in time; raise `TransportError` where none can come."""

    def settle(self) -> None:
        """Say that all that was received has been handled: a durable receiver does not get it again."""

    def now_ns(self) -> int | None:
        """Return the time by the clock of ``arrived_ns``; None where that is not known."""

    @property
    def is_drained(self) -> bool:
        """Whether all was received that was there when the last `receive` was called."""

    def close(self) -> None:
        """Let go of the broker; never raises."""


@dataclass(frozen=True)
class Address:
    """Where a broker is; `repr` and `str` hold no secret.

    `name` is the JetStream stream or the Kafka topic, `secure` whether TLS is asked for.
    """

    engine: str
    hosts: tuple[str, ...]
    name: str
    secure: bool
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    creds: str = field(default="", repr=False)
    ca: str = ""

    def __str__(self) -> str:
        return f"{self.engine}://{','.join(self.hosts)}/{self.name}"


def parse_address(settings: PublishSettings, environment: Mapping[str, str] | None = None) -> Address:
    """Return the address and the credentials that settings name.

    ConfigError, without a secret in its text, where they cannot be used.
    """
    environment = os.environ if environment is None else environment
    url = secret_value(settings.url, "publish.url", environment)
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or not rest:
        raise ConfigError(f"publish.url has the scheme {scheme[:12]!r}; allowed: {_FORMS}")
    engine, port = _SCHEMES[scheme]
    authority, _, path = rest.partition("/")
    identity, _, hosts = authority.rpartition("@")
    user, has_password, password = identity.partition(":")
    name = path.strip("/") or "thermograd"
    if not _NAME.fullmatch(name):
        raise ConfigError("publish.url: a stream or topic has 1 to 100 letters, digits, '_' and '-'")
    given = {key: secret_value(getattr(settings, key), f"publish.{key}", environment) for key in _CREDENTIALS}
    if identity:
        in_url = {"user": unquote(user), "password": unquote(password)}
        in_url = in_url if has_password or engine == "kafka" else {"token": unquote(user)}
        given = {key: given[key] or in_url.get(key, "") for key in given}
    return Address(
        engine,
        tuple(_host(host, port) for host in hosts.split(",")),
        name,
        scheme in ("tls", "kafkas"),
        ca=settings.ca,
        **given,
    )


def refuse_credentials(url: str | None) -> None:
    """Refuse an address given on a command line, where everybody can read it, that holds credentials."""
    if "@" in (url or "").partition("://")[2]:
        raise ConfigError(
            "an address on a command line has no user, password or token, for all can see it there; set "
            "THERMOGRAD_PUBLISH_USER and THERMOGRAD_PUBLISH_PASSWORD, or THERMOGRAD_PUBLISH_TOKEN"
        )


_CREDENTIALS = ("user", "password", "token", "creds")


def _host(text: str, port: int) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        host = ""
    try:
        given = parts.port if host else None
    except ValueError:
        given = 0
    if given == 0:
        raise ConfigError("publish.url has a port that cannot be; allowed: 1 to 65535")
    port = given or port
    if not host or parts.query:
        raise ConfigError(f"publish.url names no host; allowed: {_FORMS}")
    return f"{bracketed(host)}:{port}"
