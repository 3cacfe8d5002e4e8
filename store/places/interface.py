"""What a place is: files by name, in a local folder or in an object store."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple


class Entry(NamedTuple):
    """One file of a place: its name below the place, with ``/`` between, and what tells that it changed."""

    name: str
    size_bytes: int
    etag: str
    modified_ns: int


class Place(ABC):
    """Files by name. A name is relative, its parts separated by ``/``; no part is empty, ``.`` or ``..``.

    Every method raises PlaceError, in one sentence, where the place cannot be reached, does not exist or
    refuses; waiting and retries are bounded. Safe to use from several threads.
    """

    url: str
    """What a person calls the place; never with credentials."""

    @abstractmethod
    def list(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Iterate over the files below a folder (``""``: all), ordered by name on an object store.

        `after`: only names that are greater than this one.
        """

    @abstractmethod
    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the folders directly below a folder, sorted."""

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Return the content of a file. Raises NotThereError where there is none of that name."""

    @abstractmethod
    def put(self, name: str, data: bytes, create_only: bool = False) -> bool:
        """Write a file, whole or not at all; return whether it was written.

        `create_only`: what is there stays, and the answer is False; of several writers one gets True.
        """

    def probe(self) -> None:  # noqa: B027 - a local folder refuses nothing that its next call does not tell
        """Ask the place quickly. Raises RefusedError where it refuses for good; no answer is no error."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""


def checked_name(name: str) -> str:
    """Return a name of a file of a place; ValueError where it could lead out of it."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file of a place")
    return name
