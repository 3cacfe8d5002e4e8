"""Iceberg tables in a directory, with their catalogue, a SQLite file, beside them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thermograd.analysis.fleet.publishing.publish import Conflict
from thermograd.analysis.fleet.publishing.tables import MONTH, Published, Rows, Source
from thermograd.store.errors import LogError, MissingExtraError, os_errors_as
from thermograd.store.locks import ProcessLock
from thermograd.store.places.place import is_url, without_credentials

_NAMESPACE = "thermograd"
_PATIENCE_S, _LOOK_S = 600.0, 0.05
_VERSION = "thermograd.version."  # table property of a source


class IcebergTables:
    """Tables of one directory; ``catalog.db`` in it is what readers connect to."""

    def __init__(self, folder: Path) -> None:
        try:
            from pyiceberg.catalog.sql import SqlCatalog
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "--iceberg needs pyiceberg, which is not installed; pip install 'thermograd[iceberg]'"
            ) from error
        if is_url(folder):
            raise LogError(f"--iceberg is {without_credentials(str(folder))}; allowed: a directory")
        with os_errors_as(LogError, f"cannot publish in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        uri, place = f"sqlite:///{self._folder}/catalog.db", self._folder.as_uri()
        with self._alone():  # SQLite's tables are made without looking whether another is making them
            self._catalog = SqlCatalog(_NAMESPACE, uri=uri, warehouse=place)
            self._catalog.create_namespace_if_not_exists(_NAMESPACE)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let other publishers of this directory wait."""
        lock, until_s = ProcessLock(self._folder, "publish"), time.monotonic() + _PATIENCE_S
        with os_errors_as(LogError, f"cannot publish in {self._folder}"):
            while not lock.acquire():
                if time.monotonic() > until_s:
                    raise LogError(f"another process has published in {self._folder} for long; try later")
                time.sleep(_LOOK_S)
        try:
            yield
        finally:
            lock.release()

    def known(self, table: Published) -> dict[str, int]:
        """Return which version of each source a table holds."""
        name = self._name(table)
        if not self._catalog.table_exists(name):
            return {}
        properties = self._catalog.load_table(name).properties
        return {
            key.removeprefix(_VERSION): int(value)
            for key, value in properties.items()
            if key.startswith(_VERSION)
        }

    def commit(self, table: Published, sources: Sequence[Source], replace: bool, rows: Rows) -> None:
        """Write the rows and which sources they are of, in one commit."""
        with self._alone():
            self._commit(table, sources, replace, rows)

    def _commit(self, table: Published, sources: Sequence[Source], replace: bool, rows: Rows) -> None:
        from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
        from pyiceberg.expressions import In

        there = self._there(table)
        there.metadata.properties["commit.retry.num-retries"] = "0"  # else it adds what the other has added
        before = self.known(table)
        if any(before.get(each.key) == each.version for each in sources):
            raise Conflict  # another publisher, since we looked
        try:
            with there.transaction() as change:
                if replace:
                    change.delete(In(table.key, [each.key for each in sources]))  # type: ignore[call-arg, arg-type]
                for some in rows.tables():
                    change.append(some)
                change.set_properties({f"{_VERSION}{each.key}": str(each.version) for each in sources})
        except (CommitFailedException, TableAlreadyExistsError) as error:
            raise Conflict from error

    def _there(self, table: Published) -> Any:
        from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
        from pyiceberg.transforms import IdentityTransform

        name = self._name(table)
        if self._catalog.table_exists(name):
            return self._catalog.load_table(name)
        try:
            with (
                self._catalog.create_table_transaction(name, table.schema) as made,
                made.update_spec() as spec,
            ):
                spec.add_field(MONTH, IdentityTransform(), MONTH)
        except (TableAlreadyExistsError, CommitFailedException) as error:
            raise Conflict from error
        return self._catalog.load_table(name)

    @staticmethod
    def _name(table: Published) -> str:
        return f"{_NAMESPACE}.{table.name}"
