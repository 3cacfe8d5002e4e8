"""The cards of a command's runs, once it has ended: made by a process that is given a while, no longer.

The verdict takes an analysis, of which this process knows nothing; what is known before it is told where the
time is up, or where a person does not wait. Whatever happens here, the command has ended as it has.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.footprint import FRUGAL
from thermograd.store.card.switch import card_is_wanted
from thermograd.store.console import waiting_told
from thermograd.store.failures import Guard
from thermograd.store.runs.ends import BY_SIGNAL

LIMIT_S = 20.0
_MOST_CARDS = 4
_ENDING = ("SIGTERM", "SIGHUP", "SIGINT")
_harmless = Guard("thermograd run could not tell the run's card: %(error)s")


@_harmless
def tell_cards(runs: Sequence[Path], exit_code: int, limit_s: float = LIMIT_S) -> None:
    """Write the card of each run to stderr, within so many seconds in all; Ctrl-C ends the waiting.

    Of a command that a signal has ended without a verdict, for nobody waits for it.
    """
    if not card_is_wanted() or sys.stderr is None or sys.stderr.closed:
        return
    until_s = time.monotonic() + limit_s
    for run_dir in runs[-_MOST_CARDS:]:
        if lines := _card_of(run_dir, until_s - time.monotonic(), verdict=exit_code < BY_SIGNAL):
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()


def _card_of(run_dir: Path, within_s: float, verdict: bool) -> list[str]:
    """Return the last of the cards that a process has told in its time, each better than the one before."""
    arguments = ["card", str(run_dir)]
    return told_by(arguments if verdict else [*arguments, "--no-verdict"], within_s)


def told_by(arguments: Sequence[str], within_s: float) -> list[str]:
    """Return the last lines that a hidden command of ours has told, as JSON, in its time; Ctrl-C ends it."""
    told = b""
    with suppress(KeyboardInterrupt), _interruptible(), _started(arguments) as child:
        try:
            with waiting_told():
                child.wait(max(within_s, 0.1))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
        told = child.communicate()[0]
    return _last_whole(told.decode("utf-8", "replace").splitlines())


def _started(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        hidden_command(arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
        env=os.environ | FRUGAL,
    )


def _last_whole(told: Sequence[str]) -> list[str]:
    for line in reversed(told):
        with suppress(ValueError):
            return [str(text) for text in json.loads(line)]
    return []


def hidden_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a hidden command of ours."""
    return [sys.executable, "-P", "-m", "thermograd.cli", *arguments]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let every signal that ends us end the block alone: the exit code is the command's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before: dict[Any, Any] = {number: signal.getsignal(number) for number in numbers}
    try:  # what comes between two of them puts them back, too
        for number in numbers:
            signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
