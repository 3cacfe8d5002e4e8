"""Failures that must not end the work around them: counted by place, the first of each place told."""

import functools
import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

_log = logging.getLogger("thermograd")
_Parameters = ParamSpec("_Parameters")
_Method = TypeVar("_Method", bound=Callable[..., None])
_WITH_REST = 0x04 | 0x08  # flags of code that takes *args, **kwargs


def warn(text: str, *values: object) -> None:
    """Log a warning as `logging` does, and never raise.

    A handler of the user's may fail, or write marks, which may fail and warn: what it makes us say is
    dropped.
    """
    if is_running(warn.__code__):
        return
    try:
        _log.warning(text, *values)
    except Exception as error:  # a handler's own fault, or a closed stderr: nobody is left to tell
        if is_the_users(error):
            raise


def is_running(code: CodeType) -> bool:
    """Return whether the caller, a function of this code, has been called within another call of it.

    That is seen in the stack, not in a flag that an interrupt could leave set.
    """
    frame = sys._getframe(1).f_back
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def is_the_users(error: BaseException) -> bool:
    """Return whether an exception came over the work from outside: Ctrl-C, an exit, a signal handler's own.

    A signal handler may raise anything, `TimeoutError` for an alarm. It is told by its arguments: Python
    calls it, and it alone, with the frame that it interrupts; or it is a handler that is set.
    """
    if not isinstance(error, Exception):
        return True
    if isinstance(error, RecursionError | MemoryError):
        return False
    handlers = _handlers()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers or _was_given_its_caller(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def _handlers() -> set[CodeType]:
    """Return the code of the signal handlers that are set; one may have forgotten what it was given."""
    found = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        handler = getattr(handler, "__func__", handler)
        code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
        if isinstance(code, CodeType):
            found.add(code)
    return found


def _was_given_its_caller(frame: FrameType) -> bool:
    caller, code = frame.f_back, frame.f_code
    if caller is None:
        return False
    count = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & _WITH_REST).bit_count()
    known = frame.f_locals
    given = [known.get(name) for name in code.co_varnames[:count]]
    values = [item for value in given for item in (value if type(value) is tuple else (value,))]
    frames = [value for value in values if type(value) is FrameType]
    return any(caller in (value, value.f_back) for value in frames)  # the caller may not have begun yet


class _Shown:
    """An error for a sentence, also where the error cannot say what it is."""

    def __init__(self, error: object) -> None:
        self._error = error

    def _text(self, say: Callable[[object], str]) -> str:
        try:
            return say(self._error)
        except Exception as error:  # what it is asked it answers with a failure of its own
            if is_the_users(error):
                raise
            return type(self._error).__name__

    def __str__(self) -> str:
        return self._text(str)

    def __repr__(self) -> str:
        return self._text(repr)


class Guard:
    """Keeps failures from the work around them: counts them by place and tells the first of each place.

    A context manager, and a decorator of functions that return nothing. Ctrl-C, and what a signal handler
    raises, passes through. It is not locked: where several threads fail at once, a count may be one too
    small.

    Parameters
    ----------
    sentence
        What is told; ``%(place)s`` and ``%(error)s`` or ``%(error)r`` stand for what they say.
    tell
        Takes the sentence; by default it is logged as a warning. What it raises is dropped.
    again
        Told once a place when it works again; ``%(place)s`` and ``%(count)d``, its failures.
    keeps
        What is kept; in a thread that calls what is not ours, `BaseException`.

    Examples
    --------
    >>> guard = Guard("%(place)s failed (%(error)s); training goes on", tell=print)
    >>> @guard
    ... def halve(number):
    ...     number / 0
    >>> halve(1), halve(2), guard.failures
    halve failed (division by zero); training goes on
    (None, None, 2)
    """

    def __init__(
        self,
        sentence: str,
        tell: Callable[[str], object] = warn,
        again: str | None = None,
        keeps: type[BaseException] = Exception,
    ) -> None:
        self._sentence, self._tell, self._again, self._keeps = sentence, tell, again, keeps
        self._counts: Counter[str] = Counter()
        self._over: set[str] = set()
        self._taken = 0

    @property
    def failures(self) -> int:
        """How many failures there were, of all places."""
        return self._counts.total()

    @property
    def counts(self) -> dict[str, int]:
        """How many failures each place had."""
        return dict(self._counts)

    def take(self) -> int:
        """Return how many failures there were since the last call."""
        before, self._taken = self._taken, self.failures
        return self._taken - before

    def count(self, error: object, place: str = "", times: int = 1) -> bool:
        """Count a failure, or several; return whether it was the first of its place, and was told."""
        is_first = not self._counts[place]
        self._counts[place] += times
        if is_first:
            self._say(self._sentence, {"place": place, "error": _Shown(error)})
        return is_first

    def works(self, place: str = "") -> None:
        """Tell, the first time after it had failed, that a place works again."""
        if self._again is not None and self._counts.get(place) and place not in self._over:
            self._over.add(place)
            self._say(self._again, {"place": place, "count": self._counts[place]})

    def keep(self, error: BaseException, place: str = "") -> bool:
        """Count an exception unless it is the user's own; return whether it is to be kept."""
        if not isinstance(error, self._keeps) or (self._keeps is Exception and is_the_users(error)):
            return False
        self.count(error, place)
        return True

    def _say(self, sentence: str, values: dict[str, object]) -> None:
        try:
            self._tell(sentence % values)
        except Exception as error:  # who is told may fail, and nobody is left to tell
            if is_the_users(error):
                raise

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self.works()
            return False
        return self.keep(error)

    def __call__(self, function: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
        """Keep the failures of a function; its qualified name is the place."""

        @functools.wraps(function)
        def harmless(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:  # whatever it is, the work around it goes on; counted, told
                try:
                    kept = self.keep(error, function.__qualname__)
                except RecursionError:  # the stack is full: not even this can be said
                    kept = True
                if not kept:
                    raise

        return harmless


def guarded(method: _Method) -> _Method:
    """Let the `guard` of a method's object keep the method's failures."""

    @functools.wraps(method)
    def harmless(self: Any, /, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # as above
            try:
                kept = self.guard.keep(error)
            except RecursionError:
                kept = True
            if not kept:
                raise

    return harmless  # type: ignore[return-value]
