"""What a log says of its run as a whole: its name, when it began and ended, and how."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ToldOfRun:
    """What a log says of its run as a whole; None where it does not.

    Attributes
    ----------
    by
        The tool that says it, in words.
    state
        ``finished``, ``failed`` or ``interrupted``; of a run that goes on None.
    """

    by: str
    id: str | None = None
    name: str | None = None
    host: str | None = None
    began_ns: int | None = None
    ended_ns: int | None = None
    state: str | None = None
    exit_code: int | None = None

    def facts(self) -> dict[str, Any]:
        """Return what is told, without what is not."""
        return {name: value for name, value in vars(self).items() if value is not None}
