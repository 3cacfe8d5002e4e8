"""What agents publish: beats, alerts, goodbyes; each known by (run, writer, kind, seq).

MessagePack on the wire, the fields in the order below; a newer version may add fields at the end, which an
older one leaves out.
"""

from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

KINDS = ("alert", "bye", "beat")
_EVERY_WRITERS_OWN = frozenset(("seq", "monotonic_ns"))


class Message(NamedTuple):
    """One message as a transport carries it: who it is from, what it is, and its bytes."""

    run: str
    node: str
    writer: str
    kind: str
    seq: int
    data: bytes

    @property
    def identity(self) -> str:
        """What a message is known by, however often it arrives."""
        return f"{self.run}/{self.writer}/{self.kind}/{self.seq}"


class RankNow(Struct, array_like=True):
    """A rank in the second of a beat: the last step's values, and the times of all steps since the last beat.

    `work_times_s` are the rank's own, without waiting for others, where the training logs ``work_time_s``.
    """

    rank: int | None
    step: int | None = None
    loss: float | None = None
    grad_norm: float | None = None
    steps: int = 0
    step_times_s: list[float] = []
    work_times_s: list[float] = []


class DeviceNow(Struct, array_like=True):
    """A device in the second of a beat; `throttled` is ``thermal``, ``brake``, empty, or None: not known."""

    device: str
    utilization_pct: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttled: str | None = None


class Evidence(Struct, array_like=True):
    """What bets on a device's coupling are worth at the end of a second, see `CouplingMonitor.standing`.

    `tick` is the second, UTC epoch; `begun` how many bets were begun so far, the expectation of `value`.
    """

    device: str
    tick: int
    value: float
    begun: float


class Beat(Struct, array_like=True, tag="beat"):
    """A heartbeat with a summary of what one node saw since the last.

    `time_ns` is the node's clock, `newest_ns` the time of the newest event that its stream layer has seen;
    `alerts` is how many alerts its writer has written, `thinned` how many beats were dropped unsent.
    """

    run: str
    node: str
    writer: str
    seq: int
    time_ns: int
    name: str = ""
    state: str = "live"
    world_size: int | None = None
    labels: dict[str, str] = {}
    newest_ns: int | None = None
    ranks: list[RankNow] = []
    devices: list[DeviceNow] = []
    evidence: list[Evidence] = []
    alerts: int = 0
    thinned: int = 0


class AlertNote(Struct, array_like=True, tag="alert"):
    """An alert of a node's log, its columns as they are there; `seq` is the log's own."""

    run: str
    node: str
    writer: str
    seq: int
    columns: dict[str, Any]


class Bye(Struct, array_like=True, tag="bye"):
    """The end of a node's agent; `alerts` is how many alerts its writer has written."""

    run: str
    node: str
    writer: str
    seq: int
    time_ns: int
    alerts: int = 0


Body: TypeAlias = Beat | AlertNote | Bye
_encoder = msgspec.msgpack.Encoder()
_decoder: "msgspec.msgpack.Decoder[Body]" = msgspec.msgpack.Decoder(Body)


def packed(body: Body) -> Message:
    """Return a message with this body."""
    kind = str(type(body).__struct_config__.tag)
    return Message(body.run, body.node, body.writer, kind, body.seq, _encoder.encode(body))


def unpacked(data: bytes) -> Body | None:
    """Return what a message's bytes hold; None where they are none of ours.

    Examples
    --------
    >>> unpacked(packed(Bye("run", "host", "host-agent-1-ab", 0, 1)).data).writer
    'host-agent-1-ab'
    >>> unpacked(b"GET / HTTP/1.1") is None
    True
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def alert_note(run: str, node: str, writer: str, seq: int, values: dict[str, Any]) -> AlertNote:
    """Return an alert of a log as it is published: what is null or the writer's own is left out."""
    columns = {
        name: value for name, value in values.items() if value is not None and name not in _EVERY_WRITERS_OWN
    }
    return AlertNote(run, node, writer, seq, columns)
