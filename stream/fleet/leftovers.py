"""What an agent could not send before its end is sent by the next one of that host and folder.

A promise, a small file beside the runs, is made when an agent begins to publish and taken back when the
broker has all of it. One that is left, of a run without an agent, tells whose alerts may be missing: they are
sent again from the log, for whoever has them knows them by their identity.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from thermograd.store.files import write_file
from thermograd.store.locks import ProcessLock
from thermograd.store.log.reader import events_in_order
from thermograd.store.processes import host_label
from thermograd.store.runs.catalogue import Run
from thermograd.stream.fleet.brokers.messages import Body, Bye, alert_note, packed
from thermograd.stream.fleet.brokers.transport import Sender, TransportError

FOLDER = "_unpublished"
_AT_ONCE, _SEND_S, _PAUSE_S = 64, 5.0, 5.0


class Promise:
    """That all alerts of a run's agents on this host will reach the fleet."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir.parent / FOLDER / f"{run_dir.name}~{host_label()}"

    def make(self) -> None:
        """Make it; where that cannot be written it is not made."""
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            write_file(self._path, b"")

    def keep(self) -> None:
        """Take it back: it is kept."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # if it was the last


def promised_runs(runs_dir: Path) -> list[Path]:
    """Return the runs of a folder whose agents on this host have promised what they did not keep."""
    end = f"~{host_label()}"
    try:
        names = sorted(path.name for path in (runs_dir / FOLDER).iterdir())
    except OSError:
        return []
    return [runs_dir / name.removesuffix(end) for name in names if name.endswith(end)]


def send_leftovers(
    runs_dir: Path, own: Path, open_sender: Callable[[], Sender], stop: threading.Event
) -> None:
    """Send, until `stop` is set, what agents of other runs have left; whatever fails is left to the next."""
    sender = None
    for run_dir in promised_runs(runs_dir):
        if not run_dir.is_dir():  # it was deleted, and its alerts with it
            Promise(run_dir).keep()
            continue
        lock = ProcessLock(run_dir, f"agent-{host_label()}")
        with suppress(OSError):
            if run_dir == own or not lock.acquire():
                continue
            try:
                sender = sender or open_sender()
                if _send_all(sender, list(_left(Run(run_dir))), stop):
                    Promise(run_dir).keep()
            finally:
                lock.release()
    if sender is not None:
        sender.close()


def _left(run: Run) -> Iterator[Body]:
    """Yield all alerts that this host's agents have written, then their goodbyes."""
    node, written = host_label(), dict[str, int]()
    for event in events_in_order(run.path, ("alert",)):
        if event.writer.startswith(f"{node}-"):
            seq = int(event.values["seq"])
            written[event.writer] = max(seq + 1, written.get(event.writer, 0))
            yield alert_note(run.run_id, node, event.writer, seq, event.values)
    closed = {
        str(facts["writer"]): facts.get("closed_time_ns") for facts in run.writers() if "writer" in facts
    }
    for writer, count in written.items():
        yield Bye(run.run_id, node, writer, 0, int(closed.get(writer) or 0), count)


def _send_all(sender: Sender, bodies: list[Body], stop: threading.Event) -> bool:
    """Send them; return whether the broker has all of them."""
    messages = [packed(body) for body in bodies]
    while messages and not stop.is_set():
        try:
            sender.send(messages[:_AT_ONCE], _SEND_S)
        except TransportError:
            stop.wait(_PAUSE_S)
        else:
            del messages[:_AT_ONCE]
    return not messages
