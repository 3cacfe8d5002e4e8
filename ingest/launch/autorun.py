"""Recording a script that does not know of it: what happens inside a process of ``thermograd run``.

`thermograd.ingest.launch.launcher` starts the command; the ``sitecustomize`` in ``bootstrap`` calls `activate`
once torch is imported. The run starts with the first backward pass or optimizer step. A script that
calls `thermograd.start_run` itself, or uses a callback, gets that same run, and nothing is counted twice.
"""

import atexit
import json
import logging
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermograd.ingest.run import Run


_log = logging.getLogger("thermograd")
VARIABLE = "THERMOGRAD_AUTORUN"


class _State:
    active = False
    starting = False
    run: "Run | None" = None


_state = _State()


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


def activate() -> None:
    """Watch for the first step of this process; torch has just been imported."""
    from thermograd.ingest.capture import hooks

    _state.active = True
    hooks.on_first_use(_begin)


def _begin() -> None:
    """Start the run that the launcher asked for, unless the script has started one."""
    if _state.run is not None or os.environ.get(VARIABLE) is None:
        return
    try:
        from thermograd.ingest.run import start_run

        options = json.loads(os.environ[VARIABLE])
        _state.starting = True
        start_run(options["name"], hz=float(options["hz"]))
        _mark_what_ends_the_script()
    except Exception as error:  # noqa: BLE001 - the script must train on as if we were not there; the launcher is told
        say(f"failed {type(error).__name__}: {error}")
    finally:
        _state.starting = False


def _mark_what_ends_the_script() -> None:
    shown = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _state.run is not None and _state.run.is_open:
            _state.run.mark("error", text=f"{kind.__name__}: {error}")
        shown(kind, error, trace)

    sys.excepthook = excepthook


def adopt() -> "Run | None":
    """Return the run that was started for a script which now asks for one itself."""
    return _state.run if _state.run is not None and _state.run.is_open and not _state.starting else None


def started(run: "Run") -> None:
    """Take note of a run that this process has started; its steps are seen without more ado."""
    if not _state.active or run.path is None:
        return
    _state.run = run
    run.see_all_steps()
    atexit.register(run.close)
    say(f"run {run.run_id}")
