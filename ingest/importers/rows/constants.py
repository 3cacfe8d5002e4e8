"""Which columns of a device hold a value in any row, and which the same one in all rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WATCHED = ("temperature_c", "power_w", "sm_clock_mhz", "_a_load")


class Constants:
    """What is known of each device, by its number; a column that is settled is not looked at again."""

    def __init__(self) -> None:
        self._held: dict[str, set[int]] = {}  # the devices that have a value, by column
        self._constant: dict[tuple[str, int], Any] = {}
        self._varied: set[tuple[str, int]] = set()

    def note(self, values: pa.Table, codes: np.ndarray) -> None:
        """Take in more rows and the numbers of their devices."""
        present = np.flatnonzero(np.bincount(codes)).tolist() if len(codes) else []
        for name in values.column_names:
            held = self._held.setdefault(name, set())
            if len(held.intersection(present)) < len(present) and values[name].null_count < len(values):
                held.update(np.unique(codes[values[name].is_valid().to_numpy()]).tolist())
        for name in WATCHED:
            for code in present:
                if (name, code) not in self._varied:
                    self._watch(name, code, values, codes)

    def _watch(self, name: str, code: int, values: pa.Table, codes: np.ndarray) -> None:
        key = name, code
        own = pc.unique(values[name].filter(pa.array(codes == code))) if name in values.column_names else []
        value = own[0].as_py() if len(own) == 1 else None
        if value is None or self._constant.setdefault(key, value) != value:
            self._varied.add(key)
            self._constant.pop(key, None)

    def holds(self, name: str, code: int) -> bool:
        """Return whether a column holds a value in any row of a device."""
        return code in self._held.get(name, ())

    def is_held(self, name: str) -> bool:
        """Return whether a column holds a value in any row."""
        return bool(self._held.get(name))

    def constant(self, name: str, code: int) -> Any:
        """Return what a column holds in all rows of a device; None where that is not one value."""
        return self._constant.get((name, code))
