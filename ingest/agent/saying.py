"""What the agent says to people: through its parent, which knows where its user reads.

A parent that is dead or stopped shows nothing, and of just that an alert may tell. Then the agent writes on
its own stderr, which is the one that the parent had.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
from thermograd.ingest.agent.ranks import process_state
from thermograd.store.card.text import CardFacts, card_lines
from thermograd.store.failures import Guard

_log = logging.getLogger("thermograd")


class Sayings:
    """The lines of an agent; with `as_json` its parent reads alerts and card as lines of JSON among them.

    A line that was shown without the parent is handed to it as such, for a callable of the user's.
    """

    def __init__(self, parent_pid: int = 0, as_json: bool = False) -> None:
        self._parent_pid, self._as_json = parent_pid, as_json

    def say(self, line: str) -> None:
        """Say one line."""
        if not self._as_json or self._parent_reads():
            print_line(line)
            return
        _write(2, line)
        print_line(json.dumps({"shown": line}))

    def alerts(self, append: Callable[..., Any]) -> Callable[..., Any]:
        """Return an `append` that prints each alert as one line of JSON, too, for the parent to react to."""
        if not self._as_json:
            return append

        def append_and_print(kind: str, **values: Any) -> Any:
            seq = append(kind, **values)
            if kind == "alert":
                print_line(json.dumps(values, default=str))
            return seq

        return append_and_print

    @Guard("thermograd's agent cannot tell the run's card: %(error)s", _log.debug)
    def card(self, facts: Callable[[], CardFacts]) -> None:
        """Say the card of a run that ends."""
        lines = card_lines(facts())
        told = json.dumps({"card": lines}) if self._as_json else "\n".join(lines)
        is_gone = self._as_json and os.getppid() != self._parent_pid
        if is_gone or not _write(1, told):
            _write(2, "\n".join(lines))

    def _parent_reads(self) -> bool:
        """Return whether the parent is there and runs."""
        if os.getppid() != self._parent_pid:
            return False
        with suppress(psutil.Error):
            return process_state(psutil.Process(self._parent_pid)) == "runs"
        return False


def print_line(line: str) -> None:
    """Write one line to our stdout, which the parent shows; that there is none is no reason to stop."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError) as error:
        _log.debug("nobody reads the agent's lines: %s", error)


def _write(number: int, text: str) -> bool:
    try:
        os.write(number, f"{text}\n".encode())
    except OSError as error:
        _log.debug("nobody reads the agent's lines: %s", error)
        return False
    return True
