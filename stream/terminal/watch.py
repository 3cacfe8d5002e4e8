"""The live view of a run in a terminal: redraws until q or Ctrl-C, and leaves the terminal as it was."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from thermograd.store.events import Event
from thermograd.stream.settings import Settings
from thermograd.stream.terminal.frame import frame_lines
from thermograd.stream.terminal.state import RunFacts, WatchState


def can_redraw(console: Console) -> bool:
    """Return whether the terminal can show a view that changes."""
    return console.is_terminal and not console.is_dumb_terminal


def watch(
    poll: Callable[[], list[Event]],
    describe: Callable[[], RunFacts],
    console: Console,
    settings: Settings | None = None,
    refresh_s: float = 0.5,
    once: bool = False,
) -> None:
    """Show a run until q or Ctrl-C; or one frame of it, where asked for or the terminal can no more.

    `poll` returns the events that appeared since its last call, `describe` the run's present state (called at
    most once a second); `settings` are those of the monitor behind correlations and evidence.
    """
    run = describe()
    state = WatchState(run.devices, settings)
    state.learn(poll())
    if once or not can_redraw(console):
        for line in _lines(state, describe(), console, None):
            console.print(line, no_wrap=True, overflow="crop", crop=False, soft_wrap=True, highlight=False)
        return
    with single_keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        described_s = time.monotonic()
        while True:
            live.update(Group(*_lines(state, run, console, console.size.height)), refresh=True)
            if quit_pressed(keyboard, refresh_s):
                return
            state.learn(poll())
            if time.monotonic() - described_s >= 1.0:
                run, described_s = describe(), time.monotonic()
                state.describe(run.devices or {})


def _lines(state: WatchState, run: RunFacts, console: Console, height: int | None) -> list[Text]:
    return frame_lines(state, run, time.time_ns(), console.width, height, console.options.ascii_only)


@contextmanager
def single_keys() -> Iterator[int | None]:
    """Let single keys be read from the terminal, which is put back as it was; None where stdin is none."""
    saved: Any = None
    try:
        import termios
        import tty

        fd = sys.stdin.fileno()
        saved = termios.tcgetattr(fd) if os.isatty(fd) else None
    except (ImportError, OSError, ValueError):  # not a Unix terminal: Ctrl-C ends the view
        pass
    if saved is None:
        yield None
        return
    try:
        tty.setcbreak(fd)
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def quit_pressed(fd: int | None, wait_s: float) -> bool:
    """Wait so long for a key; return whether it was one that quits."""
    if fd is None:
        time.sleep(wait_s)
        return False
    ready, _, _ = select.select([fd], [], [], wait_s)
    pressed = os.read(fd, 64) if ready else b"no key"
    return not pressed or pressed[:1] in (b"q", b"Q", b"\x04")
