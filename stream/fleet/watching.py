"""`watch --fleet` and `--all`: the view that redraws, one frame of it, or lines for programs."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from thermograd.store.console import echo
from thermograd.store.errors import ConfigError, PlaceError
from thermograd.store.places.known import is_mirror
from thermograd.store.text import strict_json
from thermograd.stream.fleet.brokers.opening import open_receiver
from thermograd.stream.fleet.brokers.transport import Receiver, parse_address, refuse_credentials
from thermograd.stream.fleet.budget import FleetBudget
from thermograd.stream.fleet.consumer import FleetConsumer, Journal
from thermograd.stream.fleet.every_run import EveryRun
from thermograd.stream.fleet.local import FolderReceiver
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.fleet.view import fleet_document, fleet_lines
from thermograd.stream.pipeline.config import load_config
from thermograd.stream.settings import Settings
from thermograd.stream.terminal.frame import in_ascii
from thermograd.stream.terminal.watch import can_redraw, quit_pressed, single_keys

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FLEET_FOLDER = "_fleet"


class View(Protocol):
    """What is made of a fleet's state: lines for a terminal, and a document for a program."""

    def lines(self, state: FleetState, now_ns: int, width: int, height: int | None = None) -> list[Text]:
        """Return lines of at most `width` cells; without a height all there is."""

    def document(self, state: FleetState, now_ns: int) -> dict[str, Any]:
        """Return all of it for a program."""


class _FleetView:
    """Trouble first, and the alerts of the fleet below."""

    lines, document = staticmethod(fleet_lines), staticmethod(fleet_document)


FLEET: View = _FleetView()


def watch_all(runs: Path, once: bool, refresh_s: float, as_json: bool) -> None:
    """Show every live run of a folder, one line each; as JSON one document a look, or with `once` one."""
    if is_mirror(runs):
        raise PlaceError(
            "--all shows the live runs of a folder; of runs at a URL: thermograd --runs URL runs"
        )
    receiver = FolderReceiver(runs)
    view = EveryRun(receiver, runs)
    consumer = FleetConsumer(receiver, FleetState())
    if once:
        show_once(consumer, Console(), as_json, view)
    elif as_json:
        tell_documents(consumer, view, refresh_s, echo)
    else:
        show_fleet(consumer, Console(), refresh_s, view)


def watch_fleet(
    runs: Path, once: bool, refresh_s: float, url: str | None, consumer: str | None, as_json: bool
) -> None:
    """Show the fleet of the broker at `url`, of the configured one, or of a folder; see `open_consumer`."""
    refuse_credentials(url)
    settings = load_config().settings.with_publish(url)
    fleet = open_consumer(settings, runs, consumer, lambda text: echo(f"thermograd: {text}", err=True))
    with closing(fleet):
        if once:
            show_once(fleet, Console(), as_json)
        elif as_json:
            tell_alerts(fleet, echo)
        else:
            show_fleet(fleet, Console(), refresh_s)


def open_consumer(
    settings: Settings, runs: Path, durable: str | None, on_trouble: Callable[[str], object]
) -> FleetConsumer:
    """Return what hears the fleet: the broker of ``publish.url``, else the live runs of the folder.

    With a `durable` name it goes on where the last of that name was, and each alert is told once, ever: what
    that takes is kept in ``_fleet/live/NAME`` of the folder.
    """
    if durable is not None and not _NAME.fullmatch(durable):
        raise ConfigError(f"a consumer called {durable!r} cannot be; allowed: letters, digits, '_' and '-'")
    fleet = settings.fleet
    budget = FleetBudget(fleet.false_alarms_per_day / 2, round(fleet.lateness_s))  # as much for slow ranks
    state = FleetState(fleet.silent_s, fleet.recent_s, budget)
    receiver: Receiver = FolderReceiver(runs)
    if settings.publish.url:
        receiver = open_receiver(parse_address(settings.publish), durable)
    journal = Journal(runs / FLEET_FOLDER / "live" / durable) if durable else None
    return FleetConsumer(receiver, state, journal, on_trouble)


def show_once(consumer: FleetConsumer, console: Console, as_json: bool, view: View = FLEET) -> None:
    """Print what there is now."""
    consumer.drain()
    now_ns = consumer.now_ns()
    if as_json:
        console.file.write(strict_json(view.document(consumer.state, now_ns)) + "\n")
        return
    for line in _lines(view, consumer, console, None):
        console.print(line, no_wrap=True, overflow="crop", crop=False, soft_wrap=True, highlight=False)


def tell_alerts(consumer: FleetConsumer, write: Callable[[str], object], turns: int | None = None) -> None:
    """Write each alert as a line of JSON when it is found, until Ctrl-C, or for so many turns."""
    while turns is None or turns > 0:
        for alert in consumer.turn():
            write(strict_json(msgspec.to_builtins(alert)))
        turns = None if turns is None else turns - 1


def tell_documents(
    consumer: FleetConsumer,
    view: View,
    refresh_s: float,
    write: Callable[[str], object],
    turns: int | None = None,
) -> None:
    """Write what there is as a line of JSON, look after look, until Ctrl-C, or for so many turns."""
    while turns is None or turns > 0:
        until_s = time.monotonic() + refresh_s
        consumer.turn(refresh_s)
        write(strict_json(view.document(consumer.state, consumer.now_ns())))
        time.sleep(max(0.0, until_s - time.monotonic()))
        turns = None if turns is None else turns - 1


def show_fleet(consumer: FleetConsumer, console: Console, refresh_s: float, view: View = FLEET) -> None:
    """Show the fleet until q or Ctrl-C; one frame where the terminal cannot redraw."""
    if not can_redraw(console):
        show_once(consumer, console, as_json=False, view=view)
        return
    with single_keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            until_s = time.monotonic() + refresh_s
            consumer.turn(refresh_s)
            lines = _lines(view, consumer, console, console.size.height)
            live.update(Group(*lines), refresh=True)
            if quit_pressed(keyboard, max(0.01, until_s - time.monotonic())):
                return


def _lines(view: View, consumer: FleetConsumer, console: Console, height: int | None) -> list[Text]:
    lines = view.lines(consumer.state, consumer.now_ns(), console.width, height)
    return in_ascii(lines) if console.options.ascii_only else lines
