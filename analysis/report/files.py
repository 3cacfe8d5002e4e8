"""Reports as files: every one appears whole or not at all, and what cannot be written is one clear error."""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import write_file, write_json


def writing(what: object) -> AbstractContextManager[None]:
    """Make an operating system's error one that says what could not be written."""
    return os_errors_as(LogError, f"cannot write {what}")


def make_directory(directory: Path, what: str) -> None:
    """Create a directory where it is missing, before anything is computed for it."""
    with writing(f"{what} to {directory}"):
        directory.mkdir(parents=True, exist_ok=True)


def write_files(directory: Path, files: Mapping[str, bytes | dict[str, Any]], what: str) -> None:
    """Write files by name, a dict as JSON."""
    with writing(f"{what} to {directory}"):
        for name, content in files.items():
            if isinstance(content, bytes):
                write_file(directory / name, content)
            else:
                write_json(directory / name, content)


def read_without(path: Path, left_out: Iterable[str]) -> str | None:
    """Return the text of a JSON object but for some keys; None where there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    left_out = frozenset(left_out)
    is_object = isinstance(content, dict)
    return json.dumps({key: content[key] for key in content if key not in left_out}) if is_object else None


def remove_files(directory: Path, names: Iterable[str]) -> None:
    """Remove files by name, those that are there and can be removed."""
    for name in names:
        with suppress(OSError):
            (directory / name).unlink()
