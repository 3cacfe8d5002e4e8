"""Errors that thermograd raises for data and devices, all of them kinds of `ThermogradError`.

A caller's mistake is a ``ValueError`` or ``TypeError``. The command line turns every
`ThermogradError` into one sentence on stderr and exit code 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from thermograd.store.failures import is_the_users
from thermograd.store.text import printable

_LONGEST_SENTENCE = 3000


class ThermogradError(Exception):
    """Base of every error about data or devices."""


class ImportFormatError(ThermogradError):
    """A file that cannot be imported: says file, row, value, what is allowed.

    What is quoted of a stranger's file may hold control characters; the sentence has none.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(sentence, _LONGEST_SENTENCE))


class RunNotFoundError(ThermogradError):
    """No run, or more than one, answers to a name."""


class QueryError(ThermogradError):
    """SQL that DuckDB or the sandbox refuses."""


class TooLargeError(QueryError):
    """An answer that was cut where it grew larger than it may be."""


class DamagedError(QueryError):
    """An answer that broke off at a damaged file; asked again, it can begin without what is damaged."""


class NotEnoughDataError(ThermogradError):
    """A run that holds too little for what was asked of it."""


class LogError(ThermogradError):
    """The event log cannot be written or read."""


class PlaceError(ThermogradError):
    """A place of runs, a folder or a URL, that cannot be read or written: says which, and why."""


class RefusedError(PlaceError):
    """A place that refuses for good: no such bucket, no credentials, access denied. Waiting does not help."""


class NotThereError(PlaceError):
    """A place answers, and holds nothing of that name."""


class MissingExtraError(ThermogradError):
    """A package of one of thermograd's extras is not installed."""


class ScenarioError(ThermogradError):
    """A simulation that does not exist, or a parameter that it cannot have."""


class ConfigError(ThermogradError):
    """A setting that is unknown or out of its range: says where, and what is allowed."""


class ServeError(ThermogradError):
    """The page cannot be served: the address is taken, or would be open to anybody."""


@contextmanager
def os_errors_as(kind: type[ThermogradError], what: str) -> Iterator[None]:
    """Raise an OSError of the block as an error of ours: what could not be done, and why.

    What a signal handler raises passes as it is.

    Examples
    --------
    >>> with os_errors_as(LogError, "cannot read the log"):
    ...     open("/nowhere/at/all")
    Traceback (most recent call last):
    thermograd.store.errors.LogError: cannot read the log: No such file or directory
    """
    try:
        yield
    except OSError as error:
        if is_the_users(error):
            raise
        raise kind(f"{what}: {error.strerror or error}") from error
