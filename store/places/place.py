"""Which place a text names: a local folder, or a prefix of an object store."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from thermograd.store.errors import PlaceError
from thermograd.store.places.cache import STATE
from thermograd.store.places.folder import Folder
from thermograd.store.places.interface import Entry as Entry, Place as Place

CATALOGUE = "_catalogue"  # of a place: the folder of what is told of its runs
FINDINGS = "findings"  # as what a query needs: those of analyses of all runs
SCHEMES = ("s3", "gs", "az", "file")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/+)(?P<rest>.*)", re.DOTALL)

_NO_SLASH = re.compile(rf"({'|'.join(SCHEMES)}):(?!/)", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9$_][A-Za-z0-9._-]*")
_ALLOWED = "a folder, " + ", ".join(f"{name}://" for name in SCHEMES)


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


def folder_of(text: str | Path) -> Path | None:
    """Return the local folder that a text names; None where it is the address of something else."""
    if not is_url(text):
        return Path(text)
    return Path(place_of(text).url) if str(text)[:5].lower() == "file:" else None


def uncatalogued_folder(text: str | Path) -> Path | None:
    """Return the local folder of a text, whose files tell all; None for a URL, and where a catalogue does."""
    folder = folder_of(text)
    if folder is None or any(os.path.lexists(folder / name) for name in (CATALOGUE, STATE)):
        return None
    return folder


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
    if isinstance(text, str) and (fault := fault_of(text)) is not None:
        raise PlaceError(fault)
    found = _URL.match(str(text)) if is_url(text) else None
    if found is None:
        return Folder(Path(text))
    shown, scheme = without_credentials(str(text)), found["scheme"].lower()
    if (fault := _fault_of_url(found, shown)) is not None:
        raise PlaceError(fault)
    _refuse_credentials(found["rest"], shown)
    if scheme == "file":
        return Folder(_local(found, shown))
    from thermograd.store.places.bucket import Bucket

    return Bucket(shown.rstrip("/"))


def fault_of(text: str) -> str | None:
    """Return why a text names no place, as a sentence; None where it may name one.

    Of what somebody wrote: a path that was made of it does not tell any more. Credentials are not its matter.
    """
    if not text.strip():
        return f"an empty text names no place of runs; allowed: {_ALLOWED}"
    if found := _NO_SLASH.match(text):
        rest = without_credentials(f"{found[1]}://{text[found.end() :]}")
        return f"{_shown(found[0])}... is no address; write {_shown(rest)}, or ./ before a folder's name"
    if not is_url(text):
        return None
    match = _URL.match(text)
    return None if match is None else _fault_of_url(match, without_credentials(text))


def _fault_of_url(found: re.Match[str], shown: str) -> str | None:
    scheme, (bucket, *folders) = found["scheme"].lower(), shown.partition("://")[2].rstrip("/").split("/")
    shown = _shown(shown)
    if scheme not in SCHEMES:
        return f"{shown}: unknown scheme {scheme}://; allowed: {_ALLOWED}"
    if scheme == "file":
        return None
    if not bucket or len(found["slashes"]) > 2:
        return f"{shown}: names no bucket; write {scheme}://bucket/folder"
    if _BUCKET.fullmatch(bucket) is None:
        return f"{shown}: {_shown(bucket)!r} is no bucket; allowed: letters, digits, dots, - and _"
    if not all(map(_may_be_folder, folders)):
        return f"{shown}: allowed between its slashes: names of folders, none of them empty, . or .."
    return None


def _may_be_folder(name: str) -> bool:
    return unquote(name) not in ("", ".", "..") and unquote(name).isprintable() and "\\" not in unquote(name)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
