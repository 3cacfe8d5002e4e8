"""How far the shipping of a run has come: what ``shipping.json`` in its directory says, and in words."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
    told = read_json(run_dir / STATE)
    known = {name: told[name] for name in Progress.__dataclass_fields__ if name in told}
    if not isinstance(told.get("url"), str) or (url and told["url"] != url):
        return Progress(url)
    with suppress(TypeError):
        return Progress(**known)
    return Progress(url)


def shipping_line(run_dir: Path, now_ns: int | None = None) -> str | None:
    """Return how far a run has been shipped in a few words; None for a run that goes nowhere."""
    told = read_json(run_dir / STATE)
    return _line(told, time.time_ns() if now_ns is None else now_ns) if "url" in told else None


def _line(told: Mapping[str, Any], now_ns: int) -> str:
    url = without_secrets(str(told["url"]))
    if told.get("is_complete"):
        return f"all of it is at {url}"
    until_ns = told.get("shipped_until_ns")
    behind = f"{duration_text((now_ns - until_ns) / _NS)} behind" if until_ns else "nothing is there yet"
    parts = [counted(int(told.get("waiting") or 0), "segment"), behind, f"to {url}"]
    if told.get("conflicts"):
        parts.append(f"{counted(len(told['conflicts']), 'file')} there with another content")
    if told.get("error"):
        parts.append(f"{counted(int(told.get('failures') or 0), 'failure')}, the last: {told['error']}")
    return ", ".join(parts)
