"""Tags and notes that people give a run, at any time: beside the log, which is what happened."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import read_json, write_json
from thermograd.store.locks import ProcessLock
from thermograd.store.secrets import without_secrets
from thermograd.store.telling.quantities import moment_text
from thermograd.store.text import printable, shortened

FILE = "tags.json"
_LOCK = "tags"
_LONGEST_TAG, _LONGEST_NOTE, _MOST = 64, 4000, 1000
_WAIT_S = 0.02


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a run, in the order in which they came, and its notes, each with its time."""

    tags: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def read_tags(run_dir: Path) -> Tags:
    """Return what is known; what has another form than it should have is left out."""
    content = read_json(run_dir / FILE)
    tags, notes = (content.get(name) for name in ("tags", "notes"))
    return Tags(
        [_safe(tag, _LONGEST_TAG) for tag in _listed(tags) if isinstance(tag, str)],
        [
            {"time_ns": note["time_ns"], "text": _safe(note["text"], _LONGEST_NOTE)}
            for note in _listed(notes)
            if isinstance(note, dict)
            and isinstance(note.get("text"), str)
            and type(note.get("time_ns")) is int
            and 0 <= note["time_ns"] < 2**63
        ],
    )


def change_tags(
    run_dir: Path,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    note: str | None = None,
    patience_s: float = 2.0,
) -> Tags:
    """Add and remove tags of a run, add a note, and return what it has then.

    Safe while the run is live, and while others do the same: it waits so long for them, no longer.

    Raises
    ------
    ValueError
        If a tag or note is empty, too long, or one too many; a tag that is removed and not there.
    LogError
        If the directory cannot be written.
    """
    add, remove = [without_secrets(checked_tag(tag)) for tag in add], list(remove)
    if note is not None and not 0 < len(note.strip()) <= _LONGEST_NOTE:
        raise ValueError(f"a note is {shortened(note)!r}; allowed: 1 to {_LONGEST_NOTE} characters")
    with os_errors_as(LogError, f"cannot tag {run_dir.name}"):
        lock = _locked(run_dir, patience_s)
        try:
            changed = _changed(read_tags(run_dir), add, remove, note)
            write_json(run_dir / FILE, {"tags": changed.tags, "notes": changed.notes})
        finally:
            lock.release()
    return changed


def checked_tag(tag: str) -> str:
    """Return a tag without white space around it; a ValueError says what is allowed."""
    text = tag.strip()
    if not text or len(text) > _LONGEST_TAG or "," in text or not text.isprintable():
        raise ValueError(
            f"tag is {shortened(tag)!r}; allowed: 1 to {_LONGEST_TAG} characters that print, without commas"
        )
    return text


def _changed(now: Tags, add: list[str], remove: list[str], note: str | None) -> Tags:
    missing = [tag for tag in remove if tag not in now.tags]
    if missing:
        has = ", ".join(now.tags) or "none"
        raise ValueError(f"the run has no tag {shortened(missing[0])!r}; its tags: {has}")
    tags = [tag for tag in dict.fromkeys([*now.tags, *add]) if tag not in remove]
    noted = [] if note is None else [{"time_ns": time.time_ns(), "text": without_secrets(note.strip())}]
    notes = [*now.notes, *noted]
    if max(len(tags), len(notes)) > _MOST:
        raise ValueError(f"a run has at most {_MOST} tags and {_MOST} notes")
    return Tags(tags, notes)


def _locked(run_dir: Path, patience_s: float) -> ProcessLock:
    lock = ProcessLock(run_dir, _LOCK)
    for _ in range(1 + round(patience_s / _WAIT_S)):
        if lock.acquire():
            return lock
        time.sleep(_WAIT_S)
    raise LogError(f"cannot tag {run_dir.name}: another process has held {os.fspath(lock.path)} for long")


def _listed(value: Any) -> list[Any]:
    return value[:_MOST] if isinstance(value, list) else []


def _safe(text: str, longest: int) -> str:
    return printable(text.encode("utf-8", "replace").decode(), longest)


def tags_text(kept: Mapping[str, Any]) -> str:
    """Return tags and notes as text."""
    lines = [f"tags  {', '.join(kept['tags']) or 'none'}"]
    return "\n".join(lines + [f"note  {note_text(note)}" for note in kept["notes"]])


def note_text(note: Mapping[str, Any]) -> str:
    """Return a note behind the time at which it was written."""
    return f"{moment_text(note['time_ns'])}  {note['text']}"
