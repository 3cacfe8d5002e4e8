"""The run that this process records, whoever asked for it, and whose steps count.

`thermograd run` starts a run on the first step (`thermograd.ingest.launch.autorun`); a script that calls
`thermograd.start_run` itself, or uses a callback, gets that same run, and nothing is counted twice.
"""

import atexit
import json
import logging
import os
from pathlib import Path
from typing import Any, Protocol

VARIABLE = "THERMOGRAD_AUTORUN"

_log = logging.getLogger("thermograd")


class RecordedRun(Protocol):
    """What a session needs of the run that it holds."""

    run_id: str | None
    path: Path | None

    @property
    def is_open(self) -> bool: ...  # noqa: D102

    def see_all_steps(self) -> None: ...  # noqa: D102

    def mark(self, mark: str, *, text: str | None = None) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class _Session:
    active = False
    starting = False
    run: RecordedRun | None = None


session = _Session()


class OwnTap:
    """Decides whether the steps that a tap sees by itself count, or those that the script logs by hand.

    Attributes
    ----------
    is_ours
        The tap sees every step because of `thermograd run`.
    is_wanted
        The script has asked for the tap (`Run.watch`, a callback).

    Notes
    -----
    The first step is held back until the second: by then a script that logs by hand has done so.
    """

    def __init__(self) -> None:
        self.is_ours = self.is_wanted = False
        self._is_off = self._is_sure = False
        self._held: dict[str, Any] | None = None

    def let_through(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the rows to log, given one that the tap has seen."""
        if self._is_off:
            return []
        if self.is_wanted or not self.is_ours or self._is_sure:
            return [*self.rest(), row]
        if self._held is None:
            self._held = row
            return []
        self._is_sure = True
        return [*self.rest(), row]

    def rest(self) -> list[dict[str, Any]]:
        """Return the row that was held back."""
        held, self._held = self._held, None
        return [held] if held is not None else []

    def gives_way(self) -> bool:
        """Say, when the script logs a step by hand, whether the tap's steps end here."""
        if not self.is_ours or self.is_wanted or self._is_off:
            return False
        self._is_off, self._held = True, None
        return True


def say(word: str) -> None:
    """Tell the launcher how far this process has come; where that fails, it says less."""
    try:
        directory = json.loads(os.environ[VARIABLE])["hello"]
        with open(os.path.join(directory, str(os.getpid())), "a", encoding="utf-8") as file:
            file.write(word.replace("\n", " ") + "\n")
    except (OSError, KeyError, ValueError, TypeError) as error:
        _log.debug("thermograd cannot tell its launcher: %s", error)


def adopt() -> RecordedRun | None:
    """Return the run that was started for a script which now asks for one itself."""
    return session.run if session.run is not None and session.run.is_open and not session.starting else None


def started(run: RecordedRun) -> None:
    """Take note of a run that this process has started; its steps are seen without more ado."""
    if not session.active or run.path is None:
        return
    session.run = run
    run.see_all_steps()
    atexit.register(run.close)
    say(f"run {run.run_id}")
