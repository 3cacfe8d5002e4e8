"""Delta tables, on files or an object store: no catalogue and no lock service, a commit is one file made."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from thermograd.analysis.fleet.publishing.publish import Conflict
from thermograd.analysis.fleet.publishing.tables import MONTH, Published, Rows, Source
from thermograd.store.errors import LogError, MissingExtraError
from thermograd.store.places.bucket import known_error
from thermograd.store.places.place import is_url, place_of
from thermograd.store.secrets import without_secrets
from thermograd.store.text import shortened

_CONFLICTS = ("conflict", "concurrent", "already exists", "version 0")


class DeltaTables:
    """Tables below a directory or URL (``s3://``, ``gs://``, ``az://``, with keys from the environment).

    The application transactions of a Delta log say which source was written in which version; two commits
    that write the same one are a conflict.
    """

    def __init__(self, place: str) -> None:
        try:
            import deltalake
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "--delta needs deltalake, which is not installed; pip install 'thermograd[delta]'"
            ) from error
        self._delta: Any = deltalake
        self._base = place.rstrip("/")
        if is_url(place):
            there = place_of(place)
            there.probe()
            self._base = there.url.rstrip("/")

    def known(self, table: Published) -> dict[str, int]:
        """Return which version of each source a table holds."""
        there = self._table(table)
        return {} if there is None else _held(there, table, table.sources)

    def commit(self, table: Published, sources: Sequence[Source], replace: bool, rows: Rows) -> None:
        """Write the rows and which sources they are of, in one commit."""
        delta = self._delta
        written = [delta.Transaction(f"{table.key}:{each.key}", each.version) for each in sources]
        keys = ", ".join("'" + each.key.replace("'", "''") + "'" for each in sources)
        with self._conflicts(table, rows):
            there = self._table(table)
            if there is None:  # empty first: what two make at once, or append to what is made, is not checked
                delta.DeltaTable.create(self._uri(table), table.schema, mode="ignore", partition_by=[MONTH])
                there = self._table(table)
            held = _held(there, table, sources)
            if any(held.get(each.key) == each.version for each in sources):
                raise Conflict  # another publisher, since we looked; from here on the commit would tell
            delta.write_deltalake(
                there,
                rows.reader(),
                mode="overwrite" if replace else "append",
                predicate=f"{table.key} IN ({keys})" if replace else None,
                commit_properties=delta.CommitProperties(app_transactions=written),
            )

    def _uri(self, table: Published) -> str:
        return f"{self._base}/{table.name}"

    def _table(self, table: Published) -> Any:
        try:
            return self._delta.DeltaTable(self._uri(table))
        except self._delta.exceptions.TableNotFoundError:
            return None
        except (self._delta.exceptions.DeltaError, OSError) as error:
            raise self._failed(table, error) from error

    @contextmanager
    def _conflicts(self, table: Published, rows: Rows) -> Iterator[None]:
        """Tell what another publisher did from what is broken."""
        try:
            yield
        except (self._delta.exceptions.DeltaError, OSError) as error:
            said = str(error).lower()
            if rows.broken is not None:
                raise
            committed = isinstance(error, self._delta.exceptions.CommitFailedError)
            if committed or any(word in said for word in _CONFLICTS):
                raise Conflict from error
            raise self._failed(table, error) from error

    def _failed(self, table: Published, error: BaseException) -> LogError:
        uri = without_secrets(self._uri(table))
        known = known_error(uri, str(error)) if is_url(self._base) else None
        told = f"{uri}: {_in_a_line(str(error))}" if known is None else str(known)
        return LogError(f"cannot publish {told}")


def _in_a_line(told: str) -> str:
    """Return an error of several lines, drawn for a terminal, as one without its escapes."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told).replace("↳", ": ")
    return without_secrets(shortened(" ".join(plain.split()).replace(" : ", ": "), 300))


def _held(there: Any, table: Published, sources: Sequence[Source]) -> dict[str, int]:
    versions = {each.key: there.transaction_version(f"{table.key}:{each.key}") for each in sources}
    return {key: version for key, version in versions.items() if version is not None}
