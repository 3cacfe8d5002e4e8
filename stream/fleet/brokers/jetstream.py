"""NATS JetStream: alerts and goodbyes in one stream, beats in another that forgets sooner.

Subjects are ``tg.<run>.<node>.<kind>``, for a stream of another name ``tg-<stream>.…``. Streams are made
with file storage where they are not there. An asyncio loop of our own runs inside each call only.
"""

import asyncio
import json
import re
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from thermograd.stream.fleet.brokers.messages import Message
from thermograd.stream.fleet.brokers.transport import Address, Received, RefusedError, TransportError

_CONNECT_S, _ANSWER_S, _CLOSE_S = 2, 2.0, 1.0
_FETCH_S = 0.2  # after which a fetch gives what it has, however few
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]")
_DAY_S = 86_400.0
# kinds, what is added to the stream's name, how long they are kept, how long a message is known by its id
_STREAMS = ((("alert", "bye"), "", 30 * _DAY_S, 600.0), (("beat",), "-beats", 3600.0, 120.0))
_BEATS_KEPT = 120  # of each node
_ACK_WAIT_S = 30.0
_MOST_UNSETTLED = 200_000
_SAID = {
    "ConnectionClosedError": "the connection broke",
    "NoServersError": "nobody answers there",
    "NoRespondersError": "the server has no JetStream",
    "NoStreamResponseError": "no stream takes our messages",
}
_Result = TypeVar("_Result")


class _Connection:
    """A connection, made anew by whoever needs it, and the loop that it lives in."""

    def __init__(self, address: Address, replicas: int) -> None:
        self._address, self._replicas = address, replicas
        self._loop = asyncio.new_event_loop()
        self.client: Client | None = None
        self.refused = ""

    def run(self, work: Coroutine[Any, Any, _Result], limit_s: float) -> _Result:
        """Do something; any failure is a `TransportError`, after which the connection is made anew."""
        try:
            return self._loop.run_until_complete(asyncio.wait_for(work, limit_s))
        except (TimeoutError, nats.errors.Error, OSError, ValueError) as error:
            self.drop()
            kind = RefusedError if self.refused else TransportError
            raise kind(f"{self._address}: {self._reason(error)}") from None  # it may hold the url

    def _reason(self, error: Exception) -> str:
        if self.refused:
            return self.refused
        if isinstance(error, nats.js.errors.APIError):
            return str(error.description or error.code)
        if isinstance(error, asyncio.TimeoutError):
            return "no answer in time"
        return getattr(error, "strerror", None) or _SAID.get(type(error).__name__, type(error).__name__)

    async def jetstream(self) -> JetStreamContext:
        """Return the context of a connection that is open."""
        if self.client is None or self.client.is_closed:
            self.client = await self._connect()
            await self._ensure_streams(self.client.jetstream(timeout=_ANSWER_S))
        return self.client.jetstream(timeout=_ANSWER_S)

    async def _connect(self) -> Client:
        at, self.refused = self._address, ""
        scheme = "tls" if at.secure else "nats"
        given: dict[str, Any] = {"user": at.user, "password": at.password, "token": at.token}
        given = {name: value for name, value in given.items() if value}
        if at.creds:
            given["user_credentials"] = at.creds
        if at.secure:
            import ssl

            given["tls"] = ssl.create_default_context(cafile=at.ca or None)
        return await nats.connect(
            [f"{scheme}://{host}" for host in at.hosts],
            name="thermograd",
            allow_reconnect=False,  # whoever sends tries again, and knows what has not arrived
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_S,
            error_cb=self._remember,
            **given,
        )

    async def _remember(self, error: Exception) -> None:
        if "authori" in str(error).lower() or "authent" in str(error).lower():
            self.refused = "the broker refuses our credentials"

    async def _ensure_streams(self, jetstream: JetStreamContext) -> None:
        for kinds, suffix, age_s, window_s in _STREAMS:
            name = f"{self._address.name}{suffix}"
            try:
                await jetstream.stream_info(name)
            except nats.js.errors.NotFoundError:
                await jetstream.add_stream(
                    StreamConfig(
                        name=name,
                        subjects=[f"{_prefix(self._address)}.*.*.{kind}" for kind in kinds],
                        storage=StorageType.FILE,
                        max_age=age_s,
                        max_msgs_per_subject=_BEATS_KEPT if suffix else -1,
                        duplicate_window=window_s,
                        num_replicas=self._replicas,
                    )
                )
            except nats.errors.TimeoutError:  # we may publish, but not ask: the stream is there or it is not
                continue

    def drop(self) -> None:
        """Let go of the connection."""
        client, self.client = self.client, None
        if client is not None and not client.is_closed:
            with suppress(Exception):
                self._loop.run_until_complete(asyncio.wait_for(client.close(), _CLOSE_S))
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def close(self) -> None:
        """Let go of the connection and the loop."""
        self.drop()
        self._loop.close()


def _prefix(address: Address) -> str:
    return "tg" if address.name == "thermograd" else f"tg-{address.name}"


def subject_of(address: Address, message: Message) -> str:
    """Return the subject of a message; what a subject cannot hold is an underscore."""
    run, node = (_NO_TOKEN.sub("_", part) for part in (message.run, message.node))
    return f"{_prefix(address)}.{run}.{node}.{message.kind}"


class JetStreamSender:
    """Publishes, each message under its identity, and waits for the broker's word that it has them."""

    def __init__(self, address: Address, replicas: int = 1) -> None:
        self._address, self._connection = address, _Connection(address, replicas)

    def send(self, messages: Sequence[Message], wait_s: float) -> None:
        """Return when the broker has all of them."""
        self._connection.run(self._send(messages, wait_s), wait_s + _CONNECT_S + 2 * _ANSWER_S)

    async def _send(self, messages: Sequence[Message], wait_s: float) -> None:
        jetstream = await self._connection.jetstream()
        await asyncio.gather(
            *(
                jetstream.publish(
                    subject_of(self._address, message),
                    message.data,
                    timeout=wait_s,
                    headers={"Nats-Msg-Id": message.identity},
                )
                for message in messages
            )
        )

    def close(self) -> None:
        """Let go of the broker."""
        self._connection.close()


class JetStreamReceiver:
    """Pulls from both streams; see `thermograd.stream.fleet.brokers.opening.open_receiver`."""

    def __init__(self, address: Address, durable: str | None = None, replicas: int = 1) -> None:
        self._address, self._durable = address, durable
        self._connection = _Connection(address, replicas)
        self._pulls: dict[int, tuple[Any, asyncio.Task[list[Msg]] | None]] = {}
        self._client: Client | None = None
        self._drained: dict[int, bool] = {}
        self._taken: dict[int, int] = {}  # the number of the last delivery that was handed on
        self._unsettled: list[Msg] = []
        self._failure: nats.errors.Error | None = None
        self._ahead_ns: int | None = None

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Return what came; waits for the first message only."""
        return self._connection.run(self._receive(most, wait_s), wait_s + _CONNECT_S + 4 * _ANSWER_S)

    async def _receive(self, most: int, wait_s: float) -> list[Received]:
        await self._subscribe()
        tasks = {}
        for at, (pull, task) in self._pulls.items():
            task = task or asyncio.ensure_future(self._fetch(at, pull, most))
            self._pulls[at], tasks[at] = (pull, task), task
        done, _ = await asyncio.wait(tasks.values(), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        messages = []
        for at, task in tasks.items():
            if task in done:
                self._pulls[at] = (self._pulls[at][0], None)
                messages += await self._collect(at, task.result())
        if self._failure is not None:
            raise self._failure
        if self._client is None or self._client.is_closed:
            raise nats.errors.ConnectionClosedError
        if self._durable:
            self._unsettled += messages
        return [Received(message.data, _token(message, 9)) for message in messages]

    async def _fetch(self, at: int, pull: Any, most: int) -> list[Msg]:
        try:
            messages: list[Msg] = await pull.fetch(most, timeout=_FETCH_S)
        except TimeoutError:
            messages = []
        except nats.errors.Error as error:  # told by the next look
            self._failure = error
            return []
        return messages

    async def _collect(self, at: int, messages: list[Msg]) -> list[Msg]:
        """Note how far a stream was handed on; an empty answer alone does not say that nothing is left."""
        if messages:
            self._taken[at] = _token(messages[-1], 8)
            self._drained[at] = not _token(messages[-1], 10)
        elif not self._drained[at] and self._failure is None:
            info = await self._pulls[at][0].consumer_info()
            delivered = info.delivered.consumer_seq if info.delivered else 0
            self._drained[at] = not info.num_pending and delivered <= self._taken[at]
        return messages

    async def _subscribe(self) -> None:
        jetstream = await self._connection.jetstream()
        if self._client is self._connection.client:
            return
        self._client, self._pulls, self._unsettled = self._connection.client, {}, []
        self._failure = None
        for at, (_, suffix, _, _) in enumerate(_STREAMS):
            stream = f"{self._address.name}{suffix}"
            config = await self._consumer(jetstream, stream, is_beats=bool(suffix))
            subject = f"{_prefix(self._address)}.*.*.beat" if suffix else f"{_prefix(self._address)}.>"
            pull = await jetstream.pull_subscribe(
                subject, durable=self._durable, stream=stream, config=config
            )
            waiting = (await pull.consumer_info()).num_pending
            self._pulls[at], self._drained[at], self._taken[at] = (pull, None), not waiting, 0
        await self._ask_the_time()

    async def _consumer(self, jetstream: JetStreamContext, stream: str, is_beats: bool) -> ConsumerConfig:
        """Return how to consume; a durable consumer begins again behind what was settled without a gap.

        Else what another has received and not settled would come only after a while, and after newer ones.
        """
        if self._durable is None:
            policy = DeliverPolicy.LAST_PER_SUBJECT if is_beats else DeliverPolicy.ALL
            return ConsumerConfig(deliver_policy=policy, ack_policy=AckPolicy.NONE, inactive_threshold=60.0)
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_WAIT_S,
            max_ack_pending=_MOST_UNSETTLED,
        )
        with suppress(nats.js.errors.NotFoundError):
            before = await jetstream.consumer_info(stream, self._durable)
            settled = before.ack_floor.stream_seq if before.ack_floor else 0
            await jetstream.delete_consumer(stream, self._durable)
            if settled:
                config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
                config.opt_start_seq = settled + 1
        return config

    async def _ask_the_time(self) -> None:
        assert self._client is not None
        answer = await self._client.request(f"$JS.API.STREAM.INFO.{self._address.name}", timeout=_ANSWER_S)
        text = json.loads(answer.data).get("ts")
        if text:
            text = re.sub(r"(\.\d{6})\d+", r"\1", text)
            self._ahead_ns = round(datetime.fromisoformat(text).timestamp() * 1e9) - time.monotonic_ns()

    def settle(self) -> None:
        """Acknowledge all that was received."""
        if self._unsettled:
            messages, self._unsettled = self._unsettled, []
            self._connection.run(self._settle(messages), _ANSWER_S)

    async def _settle(self, messages: list[Msg]) -> None:
        for message in messages:
            await message.ack()
        if self._client is not None:
            await self._client.flush(round(_ANSWER_S))

    def now_ns(self) -> int | None:
        """Return the broker's time."""
        return None if self._ahead_ns is None else time.monotonic_ns() + self._ahead_ns

    @property
    def is_drained(self) -> bool:
        """Whether all that the broker had at the last look was handed on."""
        return bool(self._drained) and all(self._drained.values())

    def close(self) -> None:
        """Let go of the broker; a consumer without a name is forgotten there after a minute."""
        self._connection.close()


def _token(message: Msg, at: int) -> int:
    """Return what JetStream says of a message: 8 counts deliveries, 9 is its time, 10 how many wait."""
    tokens = message.reply.split(".")
    return int(tokens[at if len(tokens) > 9 else at - 2])
