"""Which adapter an address asks for; its client is imported only then."""

from thermograd.store.errors import MissingExtraError
from thermograd.stream.fleet.brokers.transport import Address, Receiver, Sender


def open_sender(address: Address, replicas: int = 1) -> Sender:
    """Return what publishes to a broker; it connects when it sends. MissingExtraError without its client.

    `replicas` is with how many copies a JetStream stream is made that is not there.
    """
    if address.engine == "nats":
        with _extra("nats"):
            from thermograd.stream.fleet.brokers.jetstream import JetStreamSender

        return JetStreamSender(address, replicas)
    with _extra("kafka"):
        from thermograd.stream.fleet.brokers.kafka import KafkaSender

    return KafkaSender(address)


def open_receiver(address: Address, durable: str | None = None) -> Receiver:
    """Return what receives from a broker; MissingExtraError without its client.

    With a `durable` name, what was settled is not received again, whoever receives under it next; without,
    all alerts that the broker still has, and the latest beat of each node, are received anew.
    """
    if address.engine == "nats":
        with _extra("nats"):
            from thermograd.stream.fleet.brokers.jetstream import JetStreamReceiver

        return JetStreamReceiver(address, durable)
    with _extra("kafka"):
        from thermograd.stream.fleet.brokers.kafka import KafkaReceiver

    return KafkaReceiver(address, durable)


class _extra:
    """Says which extra a package belongs to that is not installed, or cannot be imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        install = f"pip install 'thermograd[{self._name}]'"
        if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
            reason = " ".join(str(error).split())
            raise MissingExtraError(
                f"the client of {self._name} cannot be imported ({reason}): {install}"
            ) from None
        if isinstance(error, ModuleNotFoundError):
            raise MissingExtraError(f"{error.name} is not installed: {install}") from None
