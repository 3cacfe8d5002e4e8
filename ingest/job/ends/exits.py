"""How this process ends: by an exception, an exit code, or by coming to its end.

Nothing of the interpreter's is taken over: an uncaught exception is read where Python leaves it. Only what a
script gives `sys.exit` is kept nowhere, so that its call is overheard.
"""

import builtins
import functools
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from opcode import opname
from types import FrameType
from typing import Any

from thermograd.ingest.job import launcher_link
from thermograd.store.failures import Guard, is_the_users, warn
from thermograd.store.log.plain import said
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.ends import state_of_exit
from thermograd.store.secrets import without_secrets
from thermograd.store.shipping.handover import start_rest
from thermograd.store.text import printable

Account = dict[str, Any]

_LONGEST_MESSAGE = 500
_LONGEST_READ = 2000
_LONGEST_NAME = 100
_CODES = 0xFF if os.name == "posix" else 0xFFFF_FFFF
_INTERRUPTED = 130 if os.name == "posix" else 0xC000_013A

_main: FrameType | None = None  # the outermost frame of the script
_exit: Account | None = None  # what was last given to sys.exit
_closed: tuple[Callable[[Account], object] | None, Account] = (None, {})
_guard = Guard("thermograd cannot tell how this script ends: %(error)s")


class End:
    """What is said of the end of one run; the first word counts."""

    def __init__(self) -> None:
        self._before = 0
        self._account: Account | None = None
        self._closed_by = "exit"
        self._is_marked = False
        self.is_launchers = False  # begun by `thermograd run`: the script has nothing to close

    def begin(self) -> None:
        """Let this run, and no longer the one before, be that which the process ends with."""
        watch()
        remember(None, {})
        self._before = id(sys.exc_info()[1])

    def blame(self, error: BaseException) -> str | None:
        """Take what ends the run; return it as a text, None where it is no failure."""
        self._account = self._account or of_error(error)
        return self._text()

    def go_on(self) -> None:
        """Take back what was to end the run: another training has begun in it."""
        if self._closed_by == "exit":
            self._account, self._is_marked = None, False

    def close(self, closed_by: str) -> None:
        """Take that the run ends in order, though perhaps because of an exception that is on its way."""
        if self._closed_by == "exit":
            self._account = self._account or in_flight(self._before) or uncaught() or {"state": "finished"}
            self._closed_by = closed_by

    def account(self) -> Account:
        """Return what is to be said; where nobody closed the run, that it ends with the process."""
        self._account = self._account or at_exit(self._before)
        closed_by = "launcher" if self.is_launchers and self._closed_by == "exit" else self._closed_by
        return {"closed_by": closed_by} | self._account

    def close_log(self, writer: EventWriter) -> None:
        """Close the log with what is said of the end; the exit code is told when it is known."""
        writer.close(account := self.account())
        remember(partial(_amend, writer), account)

    def mark(self, mark: Callable[..., object]) -> None:
        """Write what is known of the end as marks, once the end has come."""
        account = self.account()
        if not self._is_marked and (text := self._text()) is not None:
            mark("error", text=text)
        elif self._closed_by == "exit" and account["state"] == "finished" and not launcher_link.is_active:
            warn("thermograd: the script ended without close(); the run ends here")
        mark("run_ended", **account)

    def _text(self) -> str | None:
        account = self._account or {}
        if account.get("state") in (None, "finished"):
            return None
        self._is_marked = True
        return ": ".join(filter(None, (account.get("exception", "SystemExit"), _said(account))))


def _said(account: Account) -> str:
    return str(account.get("message") or ("" if "exception" in account else account.get("exit_code", "")))


def watch() -> None:
    """Begin to look how the script ends; once a process."""
    global _main
    if _main is None:
        _main = _outermost(sys._current_frames().get(threading.main_thread().ident or 0))
        sys.exit = _overheard(sys.exit, 0)
        quitter = type(getattr(builtins, "exit", None))
        if quitter.__module__ == "_sitebuiltins":
            setattr(quitter, "__call__", _overheard(quitter.__call__, 1))  # noqa: B010 - of a class, not of an object


def _outermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _overheard(leave: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Return a function that leaves the script, and notes what it was given."""

    @functools.wraps(leave)
    def overheard(*args: Any, **kwargs: Any) -> Any:
        global _exit
        with _guard:
            if threading.current_thread() is threading.main_thread():
                _exit = _of_exit(args[place] if len(args) > place else None, sys.exc_info()[1])
        return leave(*args, **kwargs)

    return overheard


def _amend(writer: EventWriter, account: Account) -> None:
    """Write what has become known of the end since; where the run goes to a URL, there too."""
    writer.amend(account)
    start_rest(writer.run_dir)


# -- the run that was closed last ----------------------------------------------------------------------


def forget() -> None:
    """Know nothing of how the parent came so far: in a forked child."""
    global _exit
    _exit = None
    remember(None, {})


def remember(amend: Callable[[Account], object] | None, account: Account) -> None:
    """Let the exit code of this process be told of the run that was closed last; None: one has begun."""
    global _closed
    _closed = (amend, account)


def amend() -> None:
    """Say of the run that was closed last with which exit code this process ends."""
    tell, account = _closed
    code = at_exit().get("exit_code")
    if tell is not None and code is not None and "exit_code" not in account:
        tell(account | {"exit_code": code})
    remember(None, {})


# -- accounts ----------------------------------------------------------------------------------------


def of_error(error: BaseException) -> Account:
    """Return what an exception that ends a run makes of it."""
    if isinstance(error, SystemExit):
        return _of_exit(error.code, error.__context__)
    if isinstance(error, GeneratorExit):
        return {"state": "finished"}
    return {"state": "interrupted" if _is_an_interrupt(error) else "failed", **_named(error)}


def _is_an_interrupt(error: BaseException) -> bool:
    """Return whether it was Ctrl-C, a task's cancellation, or what a handler of a signal raised."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "CancelledError":
        return True
    return isinstance(error, Exception) and is_the_users(error)


def _named(error: BaseException) -> Account:
    account = {"exception": printable(type(error).__name__, _LONGEST_NAME)}
    message = _message(said(error, str))
    return account | ({"message": message} if message else {})


def _message(text: str) -> str:
    return printable(without_secrets(text.strip()[:_LONGEST_READ]), _LONGEST_MESSAGE)


def _of_exit(code: Any, because_of: BaseException | None) -> Account:
    """Return what a `SystemExit` makes of a run, by the rules by which Python makes an exit code of it."""
    is_number = isinstance(code, int)
    exit_code = 0 if code is None else int.__index__(code) & _CODES if is_number else 1
    account: Account = {"state": state_of_exit(exit_code), "exit_code": exit_code}
    if isinstance(code, str):
        return account | {"message": _message(said(code, str))}
    if exit_code and because_of is not None and not isinstance(because_of, SystemExit):
        return of_error(because_of) | {"exit_code": exit_code}
    return account


def in_flight(before: int) -> Account | None:
    """Return the account of the exception that is on its way now, but for one that was there `before`."""
    error = sys.exc_info()[1]
    return of_error(error) if error is not None and id(error) != before else None


def uncaught() -> Account | None:
    """Return the account of the exception that has ended the script; None where none has."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    trace = getattr(error, "__traceback__", None)
    if error is None or trace is None or trace.tb_frame is not _main:
        return None
    return of_error(error) | {"exit_code": _INTERRUPTED if type(error) is KeyboardInterrupt else 1}


def at_exit(before: int = 0) -> Account:
    """Return the account of this process at its very end; without an exit code where that is not known."""
    if _outermost(sys._getframe()) is _main:  # within the script: a process of multiprocessing ends like that
        return in_flight(before) or {"state": "finished"}
    if (account := uncaught()) is not None:
        return account
    if not _has_returned():
        return _exit or {"state": "finished", "closed_by": "SystemExit"}
    return {"state": "finished"} | ({} if hasattr(sys, "ps1") else {"exit_code": 0})


def _has_returned() -> bool:
    """Return whether the script came to its end, and was not left by an exception."""
    if _main is None:
        return True
    return opname[_main.f_code.co_code[_main.f_lasti]].startswith("RETURN")
