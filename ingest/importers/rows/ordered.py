"""Rows in UTC and in time order, a part at a time."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.rows.row_store import RowStore


class OrderedRows:
    """The rows of one kind by their UTC time; equal times stay in the order of the file.

    Attributes
    ----------
    store
        The rows in the order of the file.
    utc_ns
        The UTC time of each of these.
    """

    def __init__(self, store: RowStore, utc_ns: np.ndarray) -> None:
        self.store, self.utc_ns = store, utc_ns

    def __len__(self) -> int:
        return len(self.utc_ns)

    @property
    def first_ns(self) -> int:
        """The first time."""
        return int(self.utc_ns.min())

    @property
    def last_ns(self) -> int:
        """The last time."""
        return int(self.utc_ns.max())

    @property
    def columns(self) -> set[str]:
        """The columns that any row has, but for the device."""
        return self.store.columns

    def parts(self) -> Iterator[pa.Table]:
        """Yield the rows in time order: the event's columns, ``_time_ns`` (now UTC), ``_line``."""
        return self.store.in_order(self.utc_ns)

    def by_device(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each device's name and the places of its rows in the file, by their time."""
        for code, rows in self.store.by_device():
            order = np.argsort(self.utc_ns[rows], kind="stable")
            yield (self.store.devices[code] if self.store.devices else ""), rows[order]
