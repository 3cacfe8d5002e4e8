"""The agent's publisher: made from the settings, fed by the stream layer."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from thermograd.store.errors import ThermogradError
from thermograd.store.events import Event
from thermograd.store.failures import Guard
from thermograd.store.processes import host_label
from thermograd.store.runs.catalogue import Run
from thermograd.stream.fleet.brokers.opening import open_sender
from thermograd.stream.fleet.brokers.transport import Sender, parse_address
from thermograd.stream.fleet.leftovers import Promise, promised_runs, send_leftovers
from thermograd.stream.fleet.publisher import About, Publisher
from thermograd.stream.fleet.summary import WORK_TIME
from thermograd.stream.settings import PublishSettings

_LAST_WORD_S = 2.0


@contextmanager
def publishing(
    settings: PublishSettings,
    run_dir: Callable[[], Path],
    writer: str,
    stop: threading.Event,
    on_trouble: Callable[[str], object],
) -> Iterator[Publisher | None]:
    """Publish for an agent while the block lasts; give None where nothing is to be, or can be, published.

    What is wrong is told to `on_trouble`, in a sentence. Where the block raises, heartbeats go on until
    `stop` is set: they say that there are no more alerts.
    """
    publisher, promise = None, Promise(run_dir())
    if settings.url:
        try:
            address = parse_address(settings)
            sender = open_sender(address, settings.replicas)
            about = _about(Run(run_dir()), writer)
            publisher = Publisher(sender, about, _recall(run_dir), on_trouble, own_times=_own_times(run_dir))
            promise.make()
            _send_leftovers(run_dir(), partial(open_sender, address, settings.replicas), stop)
        except ThermogradError as error:
            on_trouble(f"nothing is published: {error}")
    try:
        yield publisher
    except Exception:  # whatever ends the agent is raised again; the heartbeats go on
        if publisher is not None:
            publisher.state = "no alerts"
            threading.Thread(target=_finish_later, args=(publisher, stop), daemon=True).start()
        raise
    if publisher is not None and publisher.finish(_LAST_WORD_S):
        promise.keep()
    elif publisher is not None:
        on_trouble(
            f"{publisher.waiting} messages did not reach the fleet before the end; alerts are in the log"
        )


def _send_leftovers(run_dir: Path, opened: Callable[[], Sender], stop: threading.Event) -> None:
    """Send, in a thread of its own, what earlier agents could not."""
    if promised_runs(run_dir.parent):
        work = threading.Thread(
            target=Guard("thermograd could not send what earlier agents left: %(error)r")(send_leftovers),
            args=(run_dir.parent, run_dir, opened, stop),
            daemon=True,
        )
        work.start()


def _finish_later(publisher: Publisher, stop: threading.Event) -> None:
    stop.wait()
    publisher.finish()


def _about(run: Run, writer: str) -> About:
    facts, own = run.facts, next((each for each in run.writers() if each.get("writer") == writer), {})
    labels = own.get("labels") or {}
    return About(
        run.run_id,
        host_label(),
        writer,
        run.name,
        facts.get("job", {}).get("world_size"),
        {str(name): str(value) for name, value in labels.items()},
    )


def _own_times(run_dir: Callable[[], Path]) -> Callable[[], list[Event]]:
    """Return what reads the times that ranks tell of their own work, each once."""
    from thermograd.store.log.following.follower import Follower

    follower = Follower(run_dir(), ("metric",), last=1)

    def poll() -> list[Event]:
        follower.run_dir = run_dir()
        return [event for event in follower.poll() if event.values.get("name") == WORK_TIME]

    return poll


def _recall(run_dir: Callable[[], Path]) -> Callable[[str, int], Iterator[tuple[int, Mapping[str, Any]]]]:
    """Return what reads a writer's alerts from the log again."""

    def recall(writer: str, first: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        from thermograd.store.log.reader import events_in_order

        for event in events_in_order(run_dir(), ("alert",)):
            if event.writer == writer and event.values["seq"] >= first:
                yield int(event.values["seq"]), event.values

    return recall
