"""How far the shipping of a run has come: what ``shipping.json`` in its directory says, and in words."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec
from thermograd.store.files import read_json, write_json
from thermograd.store.secrets import without_secrets
from thermograd.store.telling.quantities import counted, duration_text

STATE = "shipping.json"
_NS = 1_000_000_000


@dataclass
class Progress:
    """How far a run has been shipped. A hint for people: what is there is what the place lists.

    Attributes
    ----------
    url
        Where the run goes.
    shipped_until_ns
        All events until then are there, UTC epoch ns; None where nothing is yet.
    waiting
        Files that are known and not there yet.
    files, bytes, failures
        What has been written there, and attempts that failed, of all processes that shipped this run.
    error
        Why the last attempt failed; None where it did not.
    conflicts
        Files of which another content is there. They are never written over.
    damaged
        Files here that are damaged: of them there is what could be read.
    is_complete, complete_since_ns
        Whether the place lists every event of a run that has ended, and since when.
    """

    url: str
    shipped_until_ns: int | None = None
    waiting: int = 0
    files: int = 0
    bytes: int = 0
    failures: int = 0
    error: str | None = None
    conflicts: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    is_complete: bool = False
    complete_since_ns: int | None = None

    def fail(self, error: object) -> None:
        """Count an attempt that failed."""
        self.failures += 1
        self.error = without_secrets(str(error))

    def save(self, run_dir: Path) -> None:
        """Write it down; nothing where the disk takes nothing, or the run is gone."""
        with suppress(OSError):
            if run_dir.is_dir():
                write_json(run_dir / STATE, asdict(self))


def progress_of(run_dir: Path, url: str = "") -> Progress:
    """Return what is written down of a run; where nothing is, or for another URL, that of a beginning."""
    told = _told(run_dir)
    return told if told is not None and url in ("", told.url) else Progress(url)


def _told(run_dir: Path) -> Progress | None:
    with suppress(msgspec.ValidationError):
        return msgspec.convert(read_json(run_dir / STATE), Progress)
    return None


def shipping_line(run_dir: Path, now_ns: int | None = None) -> str | None:
    """Return how far a run has been shipped in a few words; None for a run that goes nowhere."""
    told = _told(run_dir)
    return None if told is None else _line(told, time.time_ns() if now_ns is None else now_ns)


def _line(told: Progress, now_ns: int) -> str:
    url = without_secrets(told.url)
    if told.is_complete:
        return f"all of it is at {url}"
    since_ns = told.shipped_until_ns
    if since_ns is None:
        parts = [f"nothing is at {url} yet"]
    else:
        parts = [f"all but the last {duration_text((now_ns - since_ns) / _NS)} is at {url}"]
    if told.waiting:
        parts.append(f"{counted(told.waiting, 'segment')} on the way")
    if told.conflicts:
        parts.append(f"{counted(len(told.conflicts), 'file')} there with another content")
    if told.damaged:
        parts.append(f"{counted(len(told.damaged), 'file')} here damaged")
    if told.error is not None:
        parts.append(f"{counted(told.failures, 'failure')}, the last: {told.error}")
    return ", ".join(parts)
