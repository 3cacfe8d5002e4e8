"""A place that fails by a schedule: before it has done what was asked, or after, when the answer is lost."""

from collections.abc import Iterable, Iterator

from thermograd.store.errors import PlaceError
from thermograd.store.places.place import Entry, Place


class FaultyPlace(Place):
    """Another place, of which each request fares as the next word of a schedule says; then all go well.

    The words: ``ok``, ``before`` (nothing was done), ``after`` (it was done, and nobody hears of it).
    """

    def __init__(self, inner: Place, schedule: Iterable[str] = ()) -> None:
        self.inner, self.url = inner, inner.url
        self.schedule: Iterator[str] = iter(schedule)
        self.requests: list[tuple[str, str]] = []

    def _fares(self, what: str, name: str, then):
        self.requests.append((what, name))
        fate = next(self.schedule, "ok")
        if fate == "before":
            raise PlaceError(f"{self.url}: it cannot be reached")
        answer = then()
        if fate == "after":
            raise PlaceError(f"{self.url}: no answer")
        return answer

    def list(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """List as the other does."""
        return iter(self._fares("list", prefix, lambda: [*self.inner.list(prefix, after)]))

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """List folders as the other does."""
        return self._fares("folders", prefix, lambda: self.inner.folders(prefix))

    def get(self, name: str) -> bytes:
        """Read as the other does."""
        return self._fares("get", name, lambda: self.inner.get(name))

    def put(self, name: str, data: bytes, create_only: bool = False) -> bool:
        """Write as the other does."""
        return self._fares("put", name, lambda: self.inner.put(name, data, create_only))

    def delete(self, name: str) -> None:
        """Delete as the other does."""
        self._fares("delete", name, lambda: self.inner.delete(name))
