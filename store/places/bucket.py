"""A prefix of an object store as a place, by obstore: S3, Google's, Azure's and what speaks like them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from thermograd.store.errors import MissingExtraError, NotThereError, PlaceError, RefusedError
from thermograd.store.places.interface import Entry, Place, checked_name

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CONNECT_S, _REQUEST_S, _RETRIES, _RETRY_S = 5, 120, 4, 30
_PROBE_S = 5
_BACKOFF = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=4), "base": 2.0}
_ADDRESS = re.compile(r"(https?://)[^/\s@]*@|\?\S*")

# What is wrong, by what obstore's message says; the first that fits.
_REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"NoSuchBucket|ContainerNotFound|specified (bucket|container) does not exist",
        "there is no such bucket",
    ),
    (
        r"169\.254\.|metadata\.google|token request|Account must be specified|[Cc]redential"
        r"|InvalidAccessKeyId|SignatureDoesNotMatch|Unauthenticated|\b401 |AuthenticationFailed",
        "no credentials that it accepts; set them in the environment",
    ),
    (
        r"PermissionDeniedError|\b403 Forbidden|AccessDenied",
        "access denied; these credentials may not do this",
    ),
    (
        r"builder error|BadScheme",
        "its endpoint is no https:// address; with AWS_ALLOW_HTTP=true http:// is taken, too",
    ),
)
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_REASONS = (
    (r"timed out|TimedOut", "it does not answer in time; is the network down?"),
    (r"error sending request|HTTP error|dns error|[Cc]onnect", "it cannot be reached; is the network down?"),
)


class Bucket(Place):
    """The objects below ``scheme://bucket/prefix``."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise MissingExtraError(
                f"{url} needs the package obstore; pip install 'thermograd[cloud]' installs it"
            ) from error
        try:
            with self._errors():
                self._store: ObjectStore = from_url(url, client_options=_client(), retry_config=_RETRY)
        except ValueError as error:
            raise PlaceError(f"{url}: is no address of a bucket ({_shown(str(error))})") from None

    def probe(self) -> None:
        """Ask for one name; retries are few, for a network that blinks is no refusal."""
        from obstore.store import from_url

        retry: Any = {**_RETRY, "retry_timeout": timedelta(seconds=_PROBE_S)}
        client: Any = {**_client(), "timeout": timedelta(seconds=_PROBE_S)}
        try:
            with self._errors():
                store: ObjectStore = from_url(self.url, client_options=client, retry_config=retry)
                next(iter(store.list(chunk_size=1)), None)
        except RefusedError:
            raise
        except PlaceError:
            return

    def list(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Iterate over the objects below a folder, by name."""
        below = checked_name(prefix) if prefix else None
        with self._errors():
            for found in self._store.list(below, offset=after or None, chunk_size=1000):
                for item in found:
                    yield _entry(item)

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the folders directly below a folder, sorted."""
        with self._errors():
            found = self._store.list_with_delimiter(checked_name(prefix) if prefix else None)
        return tuple(sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"]))

    def get(self, name: str) -> bytes:
        """Return the content of an object."""
        with self._errors(name):
            return bytes(self._store.get(checked_name(name)).bytes())

    def put(self, name: str, data: bytes, create_only: bool = False) -> bool:
        """Write an object; `create_only` by a conditional request, which of several writers one wins."""
        from obstore.exceptions import AlreadyExistsError

        mode: Any = "create" if create_only else "overwrite"
        with self._errors(name):
            try:
                self._store.put(checked_name(name), data, mode=mode, use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def delete(self, name: str) -> None:
        """Remove an object."""
        with self._errors(name):
            try:
                self._store.delete(checked_name(name))
            except FileNotFoundError as error:
                if _is_about_the_bucket(error):
                    raise

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        """Raise what obstore raises as one sentence; its own text holds whole requests, and is dropped."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            if _is_about_the_bucket(error):
                raise self._error(error) from None
            raise NotThereError(f"there is no {name} in {self.url}") from None
        except BaseError as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> PlaceError:
        told = f"{type(error).__name__}: {error}".partition("Debug source")[0]
        return known_error(self.url, told) or PlaceError(f"{self.url}: {_shown(told)}")


def known_error(url: str, told: str) -> PlaceError | None:
    """Return what an object store's message means in a sentence; None of one that is not known."""
    for reasons, kind in ((_REFUSALS, RefusedError), (_REASONS, PlaceError)):
        for form, said in reasons:
            if re.search(form, told):
                names = credentials_for(url.partition(":")[0]) if "no credentials" in said else ""
                return kind(f"{url}: {said}{names}")
    return None


def credentials_for(scheme: str) -> str:
    """Return which variables of the environment hold the credentials for a scheme, in brackets."""
    return f" ({_CREDENTIALS[scheme]})"


_RETRY: Any = {
    "max_retries": _RETRIES,
    "retry_timeout": timedelta(seconds=_RETRY_S),
    "backoff": _BACKOFF,
}


def _client() -> Any:
    """Return the client's options; given any, obstore does not look for this one in the environment."""
    allowed = os.environ.get("AWS_ALLOW_HTTP", os.environ.get("ALLOW_HTTP", "")).lower()
    return {
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "timeout": timedelta(seconds=_REQUEST_S),
        "allow_http": allowed in ("true", "1", "yes", "on"),
    }


def _is_about_the_bucket(error: Exception) -> bool:
    return re.search(_REFUSALS[0][0], str(error)) is not None


def _shown(told: str) -> str:
    from thermograd.store.text import shortened

    return shortened(" ".join(_ADDRESS.sub(r"\1", told).split()), 300)


def _entry(item: Any) -> Entry:
    modified: datetime = item["last_modified"]
    etag = (item["e_tag"] or "").strip('"') or f"{modified.timestamp()}-{item['size']}"
    return Entry(item["path"], item["size"], etag, int(modified.timestamp() * 1000) * 1_000_000)
