"""The names that a person gives the columns of an nvidia-smi log without a header, held against its rows."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from thermograd.ingest.importers.hints.units import UNITS, unit_named
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.text_files import is_known
from thermograd.store.errors import ImportFormatError

_EXAMPLE = "timestamp,index,power.draw,temperature.gpu"
_OWN = {  # our names of what a query calls otherwise
    "utilization_pct": "utilization.gpu",
    "power_w": "power.draw",
    "power_w_average": "power.draw.average",
    "power_limit_w": "enforced.power.limit",
    "temperature_c": "temperature.gpu",
    "memory_temperature_c": "temperature.memory",
    "slowdown_margin_c": "temperature.gpu.tlimit",
    "sm_clock_mhz": "clocks.current.sm",
    "memory_clock_mhz": "clocks.current.memory",
    "memory_used_bytes": "memory.used",
    "fan_pct": "fan.speed",
    "ecc_corrected": "ecc.errors.corrected.volatile.total",
    "ecc_uncorrected": "ecc.errors.uncorrected.volatile.total",
}
_WITH_UNIT = re.compile(r"[-+]?\d+(?:[.,]\d+)? ?(?P<unit>%|[A-Za-z]+)", re.ASCII)
_FRACTION = re.compile(r"[-+]?\d+[.,]\d+( \S+)?", re.ASCII)
_BUS = re.compile(r"([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.\d", re.ASCII | re.IGNORECASE)
_MAY_BE_FRACTIONS = frozenset(
    {"power_w", "power_w_average", "power_limit_w"}
)  # nvidia-smi's others are whole


def query_field(name: str, cell: str) -> str:
    """Return what a query calls a column with such a cell; `device` is an index where that is a number."""
    if name == "device":
        return "index" if cell.isdecimal() else "uuid"
    return _OWN.get(name, name)


def require_as_many(path: Path, names: Sequence[str], row: Sequence[str]) -> None:
    """Refuse names that are not as many as the cells of a row."""
    if len(row) != len(names):
        raise ImportFormatError(
            f"{path}: --columns names {len(names)} columns, but the rows of this log have {len(row)} "
            f"cells ({', '.join(row)}); give the fields of the query that was used, all and in its order"
        )


def require_time_and_unit(path: Path, hints: Hints, fields: Sequence[str], row: Sequence[str]) -> None:
    """Refuse names none of which is the time, or numbers that may be of one unit or another."""
    if "timestamp" not in fields:
        raise ImportFormatError(
            f"{path}: --columns {','.join(hints.fields)} names no timestamp, which says when a row was; call "
            f"the column with the times timestamp, as in {_EXAMPLE}"
        )
    unlike = "memory_used_bytes"  # of which a query without units has MiB
    if unlike in fields and unlike not in dict(hints.units) and row[fields.index(unlike)].isdecimal():
        raise ImportFormatError(
            f"{path}: --columns calls numbers without a unit {unlike}; call them memory.used where they are "
            f"as nvidia-smi writes them (MiB), or say their unit, e.g. --unit {unlike}=B"
        )


def require_fitting(
    path: Path,
    names: Sequence[str],
    columns: Sequence[str | None],
    rows: Sequence[Sequence[str]],
    is_time: Callable[[str], bool],
) -> None:
    """Refuse names that do not fit what their columns hold: they are in another order than the query's.

    `columns` are ours, by position, a query's own name where it has none of ours.
    """
    for row in rows:
        if len(row) != len(names):
            continue
        for name, column, cell in zip(names, columns, row, strict=True):
            if column is not None and is_known(cell) and not _fits(column, cell, is_time):
                raise ImportFormatError(
                    f"{path}: --columns calls a column {name} that holds {cell!r}; give the fields of the "
                    f"query that was used, all and in its order (a row: {', '.join(row)})"
                )


def _fits(column: str, cell: str, is_time: Callable[[str], bool]) -> bool:
    match column:
        case "timestamp":
            return is_time(cell)
        case "index":
            return cell.isdecimal()
        case "uuid":
            return not is_time(cell) and _WITH_UNIT.fullmatch(cell) is None
        case "pci.bus_id":
            return _BUS.fullmatch(cell) is not None
    if column not in UNITS:
        return True
    unit = _WITH_UNIT.fullmatch(cell)
    if unit is not None:
        return unit_named(column, unit["unit"]) is not None and _may_be(column, cell)
    return _may_be(column, cell) and not is_time(cell) and not cell.startswith("GPU-")


def _may_be(column: str, cell: str) -> bool:
    return column in _MAY_BE_FRACTIONS or _FRACTION.fullmatch(cell) is None
