"""Kafka: one topic, the key (run, writer) keeps a writer's order; delivery is idempotent and known.

One consumer reads all partitions, assigned by hand: it begins where the group has committed, without
waiting until the broker believes that the last one is dead.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message as KafkaMessage,
    Producer,
    TopicPartition,
)
from thermograd.stream.fleet.brokers.messages import Message
from thermograd.stream.fleet.brokers.transport import Address, Received, TransportError

_ANSWER_S = 10.0
# a view without a name begins so many messages of a partition back, and leaves out what is older
_VIEW_MESSAGES, _VIEW_S = 100_000, 3600.0
_FROM_THE_BEGINNING = -2
_QUIET = {"log_level": 0}
_SAID = {
    KafkaError._TRANSPORT: "nobody answers there",
    KafkaError._ALL_BROKERS_DOWN: "nobody answers there",
    KafkaError._RESOLVE: "the host is not known",
    KafkaError._AUTHENTICATION: "the broker refuses our credentials",
    KafkaError._PURGE_QUEUE: "nobody answers there",
    KafkaError._PURGE_INFLIGHT: "no answer in time",
    KafkaError._MSG_TIMED_OUT: "no answer in time",
    KafkaError._TIMED_OUT: "no answer in time",
}


def _common(address: Address) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bootstrap.servers": ",".join(address.hosts),
        "client.id": "thermograd",
        "error_cb": lambda error: None,
        "reconnect.backoff.max.ms": 2000,
        **_QUIET,
    }
    if address.secure:
        config["security.protocol"] = "ssl"
        if address.ca:
            config["ssl.ca.location"] = address.ca
    if address.user:
        protocol = "sasl_ssl" if address.secure else "sasl_plaintext"
        config |= {"security.protocol": protocol, "sasl.mechanism": "PLAIN"}
        config |= {"sasl.username": address.user, "sasl.password": address.password}
    return config


def _reason(error: KafkaError | BufferError | None) -> str:
    if not isinstance(error, KafkaError):
        return "no answer in time"
    return _SAID.get(error.code(), error.str())


class KafkaSender:
    """Publishes by an idempotent producer and waits for the broker's word that it has all."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._producer: Producer | None = None

    def send(self, messages: Sequence[Message], wait_s: float) -> None:
        """Return when the broker has all of them."""
        failures: list[Any] = []
        arrived = 0

        def told(error: KafkaError | None, _: KafkaMessage) -> None:
            nonlocal arrived
            arrived += error is None
            if error is not None:
                failures.append(error)

        try:
            producer = self._opened(wait_s)
            for message in messages:
                key = f"{message.run}/{message.writer}"
                headers: list[tuple[str, str | bytes | None]] = [("id", message.identity)]
                producer.produce(self._address.name, message.data, key, on_delivery=told, headers=headers)
            producer.flush(wait_s)
        except (KafkaException, BufferError) as error:
            failures.append(error.args[0] if error.args else error)
        if failures or arrived < len(messages):
            self.close()
            raise TransportError(f"{self._address}: {_reason(failures[0] if failures else None)}")

    def _opened(self, wait_s: float) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    **_common(self._address),
                    "enable.idempotence": True,
                    "linger.ms": 5,
                    # `send` gives up, and purges what is left: what had not gone out is told from what had
                    "message.timeout.ms": round(wait_s * 1000) + 60_000,
                }
            )
        return self._producer

    def close(self) -> None:
        """Let go of the broker, and of what it has not taken: it is sent again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                producer.purge()
                producer.flush(0.1)


class KafkaReceiver:
    """Reads all partitions of the topic; see `thermograd.stream.fleet.brokers.opening.open_receiver`."""

    def __init__(self, address: Address, durable: str | None = None) -> None:
        self._address, self._durable = address, durable
        self._consumer: Consumer | None = None
        self._at: dict[int, int] = {}
        self._ended: set[int] = set()
        self._partitions: set[int] = set()

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Return what came."""
        try:
            consumer = self._opened()
            messages = consumer.consume(most, wait_s)
        except KafkaException as error:
            self.close()
            raise TransportError(f"{self._address}: {_reason(error.args[0])}") from None
        found, now_ns = [], time.time_ns()
        oldest_ms = now_ns // 10**6 - _VIEW_S * 1000
        for message in messages:
            failure, partition = message.error(), message.partition() or 0
            if failure is None:
                self._at[partition] = (message.offset() or 0) + 1
                self._ended.discard(partition)
                if not self._durable and 0 < message.timestamp()[1] < oldest_ms:
                    continue
                found.append(Received(message.value() or b"", now_ns))
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._ended.add(partition)
            elif not failure.retriable():
                self.close()
                raise TransportError(f"{self._address}: {_reason(failure)}")
        return found

    def _opened(self) -> Consumer:
        if self._consumer is None:
            group = self._durable or f"thermograd-view-{time.time_ns()}"
            consumer = Consumer(
                {
                    **_common(self._address),
                    "group.id": group,
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                }
            )
            self._at, self._ended = {}, set()
            consumer.assign(self._begin(consumer))
            self._consumer = consumer
        return self._consumer

    def _begin(self, consumer: Consumer) -> list[TopicPartition]:
        name = self._address.name
        topic = consumer.list_topics(name, timeout=_ANSWER_S).topics[name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        self._partitions = set(topic.partitions)
        parts = [TopicPartition(name, number) for number in topic.partitions]
        if self._durable:
            parts = consumer.committed(parts, timeout=_ANSWER_S)
            for part in parts:
                part.offset = part.offset if part.offset >= 0 else _FROM_THE_BEGINNING
        else:
            for part in parts:
                low, high = consumer.get_watermark_offsets(part, timeout=_ANSWER_S)
                part.offset = max(low, high - _VIEW_MESSAGES)
        return parts

    def settle(self) -> None:
        """Commit how far was read."""
        if self._durable and self._at and self._consumer is not None:
            offsets = [TopicPartition(self._address.name, part, at) for part, at in self._at.items()]
            try:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                raise TransportError(f"{self._address}: {_reason(error.args[0])}") from None

    def now_ns(self) -> int | None:
        """Return our own time: that is the clock by which messages arrive."""
        return time.time_ns()

    @property
    def is_drained(self) -> bool:
        """Whether the end of every partition was met."""
        return bool(self._partitions) and self._ended >= self._partitions

    def close(self) -> None:
        """Let go of the broker."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaException):
                consumer.close()
