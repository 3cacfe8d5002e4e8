"""A place that holds files by name: a local folder, or a prefix of an object store."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from thermograd.store.errors import PlaceError

SCHEMES = ("s3", "gs", "az", "file")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/+)(?P<rest>.*)", re.DOTALL)


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

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""


def is_url(text: object) -> bool:
    """Return whether a text, or a path made of one, is the address of a place: ``scheme://...``.

    `pathlib` makes one slash of two: ``Path("s3://bucket/runs")`` is known again.
    """
    found = _URL.match(str(text))
    return found is not None and (found["scheme"].lower() in SCHEMES or len(found["slashes"]) > 1)


def without_credentials(url: str) -> str:
    """Return an address without user, password, signature or anything else that may be secret.

    Examples
    --------
    >>> without_credentials("s3://key:secret@bucket/runs?X-Amz-Signature=abc")
    's3://bucket/runs'
    """
    found = _URL.match(url)
    if found is None:
        return url
    host, slash, path = re.split(r"[?#]", found["rest"], maxsplit=1)[0].partition("/")
    if "@" in path and ":" in host and "@" not in host:  # a secret may hold a slash
        host, slash, path = path.rpartition("@")[2], "", ""
    is_rooted = found["slashes"] == "///" or (found["slashes"] == "/" and found["scheme"].lower() == "file")
    return f"{found['scheme'].lower()}://{'/' if is_rooted else ''}" + (
        f"{host.rpartition('@')[2]}{slash}{path}"
    )


def place_of(text: str | Path) -> Place:
    """Return the place that a text names: a local folder, or ``file://``, ``s3://``, ``gs://``, ``az://``.

    Nothing is asked of the place yet. Endpoint and keys come from the environment alone, by the names that
    obstore knows: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``AWS_ALLOW_HTTP``, ...

    Raises
    ------
    PlaceError
        If the address has an unknown scheme, credentials or no bucket.
    MissingExtraError
        If it needs a package that is not installed.
    """
    from thermograd.store.places.folder import Folder

    found = _URL.match(str(text)) if is_url(text) else None
    if found is None:
        return Folder(Path(text))
    shown, scheme = without_credentials(str(text)), found["scheme"].lower()
    if scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise PlaceError(f"{shown}: unknown scheme {scheme}://; allowed: a folder, {allowed}")
    _refuse_credentials(found["rest"], shown)
    if scheme == "file":
        return Folder(_local(found, shown))
    from thermograd.store.places.bucket import Bucket

    if not shown.partition("://")[2].strip("/"):
        raise PlaceError(f"{shown}: names no bucket; write {scheme}://bucket/folder")
    return Bucket(shown.rstrip("/"))


def _refuse_credentials(rest: str, shown: str) -> None:
    host, _, path = rest.partition("/")
    if "@" in host or (":" in host and "@" in path) or "?" in rest or "#" in rest:
        raise PlaceError(
            f"{shown}: an address of runs has no user, password, key or ?signature; "
            "credentials belong in the environment (AWS_ACCESS_KEY_ID, ...)"
        )


def _local(found: re.Match[str], shown: str) -> Path:
    host, _, path = found["rest"].partition("/")
    if len(found["slashes"]) == 2 and host not in ("", "localhost"):
        raise PlaceError(f"{shown}: another host's files cannot be read; write file:///folder")
    path = unquote(path if len(found["slashes"]) == 2 else found["rest"])
    return Path(path if re.match(r"[A-Za-z]:[/\\]", path) else f"/{path}")


def checked_name(name: str) -> str:
    """Return a name of a file of a place; ValueError where it could lead out of it."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file of a place")
    return name
