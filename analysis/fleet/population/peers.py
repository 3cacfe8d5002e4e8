"""The devices that compare with each other: of one model, part and power limit, by condition."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.fleet.population.standing import medians
from thermograd.analysis.fleet.population.summaries import METRICS

GROUP = ("model", "part", "power_limit_w", "simulated")


class Peers:
    """All devices of a group, each once at every condition; what is asked for again is remembered."""

    def __init__(self, summaries: pa.Table, like: Mapping[str, Any]) -> None:
        group = summaries.filter(same_as(like, GROUP))
        names = group["identity"].combine_chunks().dictionary_encode()
        self._places = {name: place for place, name in enumerate(names.dictionary.to_pylist())}
        self._tables = {
            metric: group.append_column("place", names.indices).filter(pc.field("metric") == metric)
            for metric in METRICS
        }
        self._known: dict[tuple[Any, ...], tuple[Ints, Floats, int]] = {}

    def others(self, row: Mapping[str, Any]) -> tuple[Floats, int]:
        """Return the other devices' values at a summary's condition, and how many drivers there are."""
        key = row["metric"], row["cell"], row["training"]
        if key not in self._known:
            self._known[key] = self._at(row)
        places, values, drivers = self._known[key]
        return values[places != self._places.get(row["identity"], -1)], drivers

    def _at(self, row: Mapping[str, Any]) -> tuple[Ints, Floats, int]:
        table = self._tables[row["metric"]].filter(same_as(row, ("cell", "training")))
        if not table.num_rows:
            return np.empty(0, dtype=np.int64), np.empty(0), 0
        found = medians(np.asarray(table["value"]), np.asarray(table["place"]).tolist())
        drivers = set(table["driver"].unique().to_pylist()) - {"", None}
        return np.array(list(found), dtype=np.int64), np.array(list(found.values())), len(drivers)


def same_as(row: Mapping[str, Any], names: tuple[str, ...]) -> pc.Expression:
    """Return the condition that columns have a row's values; what is not known is alike."""
    alike = pc.scalar(True)
    for name in names:
        alike = alike & (pc.field(name).is_null() if row[name] is None else pc.field(name) == row[name])
    return alike
