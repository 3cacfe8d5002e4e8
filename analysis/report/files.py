"""Reports as files: every one appears whole or not at all, and what cannot be written is one clear error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError
from thermograd.store.files import write_file, write_json


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Make an operating system's error one that says what could not be written."""
    try:
        yield
    except OSError as error:
        raise LogError(f"cannot write {what}: {error.strerror or error}") from error


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
