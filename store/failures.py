"""Failures that must not end the work around them: counted by place, the first of each place told."""

import functools
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

_log = logging.getLogger("thermograd")
_Parameters = ParamSpec("_Parameters")
_Method = TypeVar("_Method", bound=Callable[..., None])


class Guard:
    """Keeps failures from the work around them: counts them by place and tells the first of each place.

    A context manager, and a decorator of functions that return nothing. Ctrl-C passes through. It is not
    locked: where several threads fail at once, a count may be one too small. In `sentence`, ``%(place)s``
    and ``%(error)s`` or ``%(error)r`` stand for what they say; `tell` takes it, by default it is logged as
    a warning. What `tell` raises is dropped.

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

    def __init__(self, sentence: str, tell: Callable[[str], object] = _log.warning) -> None:
        self._sentence, self._tell = sentence, tell
        self._counts: Counter[str] = Counter()
        self._taken = 0

    @property
    def failures(self) -> int:
        """How many failures there were, of all places."""
        return self._counts.total()

    def take(self) -> int:
        """Return how many failures there were since the last call."""
        before, self._taken = self._taken, self.failures
        return self._taken - before

    def count(self, error: object, place: str = "") -> bool:
        """Count a failure; return whether it was the first of its place, and was told."""
        self._counts[place] += 1
        is_first = self._counts[place] == 1
        if is_first:
            with suppress(Exception):
                self._tell(self._sentence % {"place": place, "error": error})
        return is_first

    def __enter__(self) -> "Guard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.count(error)
        return True

    def __call__(self, function: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
        """Keep the failures of a function; its qualified name is the place."""

        @functools.wraps(function)
        def harmless(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, the work around it goes on; counted, told
                self.count(error, function.__qualname__)

        return harmless


def guarded(method: _Method) -> _Method:
    """Let the `guard` of a method's object keep the method's failures; arguments go by position."""

    @functools.wraps(method)
    def harmless(self: Any, *args: Any) -> None:
        try:
            method(self, *args)
        except Exception as error:  # noqa: BLE001 - as above
            self.guard.count(error)

    return harmless  # type: ignore[return-value]
