"""Errors that thermograd raises for data and devices.

::

    ThermogradError
    +-- ImportFormatError    a file that cannot be imported: says file, row, value, what is allowed
    +-- RunNotFoundError     no run, or more than one, answers to a name
    +-- QueryError           SQL that DuckDB or the sandbox refuses
    +-- NotEnoughDataError   a run that holds too little for what was asked
    +-- LogError             the event log cannot be written or read
    +-- MissingExtraError    a package of an extra is not installed
    +-- ConfigError          a setting that is unknown or out of its range: says where, and what is allowed
    +-- ScenarioError        a simulation that was asked for does not exist or cannot be

A caller's mistake is a ``ValueError`` or ``TypeError``. The command line turns every
`ThermogradError` into one sentence on stderr and exit code 1.
"""


class ThermogradError(Exception):
    """Base of every error about data or devices."""


class ImportFormatError(ThermogradError):
    """A file that cannot be imported."""


class RunNotFoundError(ThermogradError):
    """No run, or more than one, answers to a name."""


class QueryError(ThermogradError):
    """SQL that was refused or failed."""


class NotEnoughDataError(ThermogradError):
    """A run that holds too little for what was asked of it."""


class LogError(ThermogradError):
    """The event log cannot be written or read."""


class MissingExtraError(ThermogradError):
    """A package of one of thermograd's extras is not installed."""


class ScenarioError(ThermogradError):
    """A simulation that does not exist, or a parameter that it cannot have."""


class ConfigError(ThermogradError):
    """A setting that is unknown or out of its range."""
