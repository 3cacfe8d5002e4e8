"""Any table: CSV, JSON Lines or Parquet, by the names of its columns, or by those that a person says."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq
from thermograd.ingest.importers.hints.given import NO_HINTS
from thermograd.ingest.importers.hints.units import COLUMNS
from thermograd.ingest.importers.recording import Format, Head, Hints, Kind, Recording
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.tables.any_table import NOT_VALUES, TableLog, sample_columns, time_names
from thermograd.ingest.importers.tables.csv_rows import csv_rows, header_of, names_of_csv
from thermograd.ingest.importers.tables.json_rows import json_rows, keys_in, names_in, objects
from thermograd.ingest.importers.tables.parquet_rows import names_of_schema, parquet_rows, schema_in
from thermograd.ingest.importers.tables.row import TableRow

Every = Callable[[Path], Iterable[str]]  # names, also of what holds no value
Rows = Callable[[Path, Hints], Iterable[TableRow]]
_KINDS: tuple[tuple[Kind, ...], ...] = (("step", "sample"), ("step",), ("sample",))
_HINTS = frozenset({"columns", "units", "device", "time", "started_at", "step_time_s", "sample_time_s"})
_SURE = frozenset({"utilization_pct", "power_w", "temperature_c", "energy_j", "memory_used_bytes"})
_SIGNALS = frozenset({"loss", "grad_norm", "learning_rate"})


def kinds_in(names: list[str], hints: Hints) -> tuple[Kind, ...]:
    """Return the kinds of event that are in a table with columns of such names."""
    columns = ColumnNames(hints.columns, own_names=True)
    said = {name for name, _ in hints.columns}
    found = {column[0] for name in names if (column := columns.column_of(name))}
    steps = not _SIGNALS.isdisjoint(found) and not set(columns.step_tags("step")).isdisjoint(names)
    own = sample_columns(hints)
    sensors = {own[name] for name in names if name in own}
    has = {
        "step": steps or not said.isdisjoint(COLUMNS["step"]),
        "sample": not sensors.isdisjoint(_SURE) or not (said - {"device"}).isdisjoint(COLUMNS["sample"]),
    }
    return tuple(kind for kind in _KINDS[0] if has[kind])


def _are_metrics(names: list[str], hints: Hints) -> bool:
    """Whether a table has steps, their times, and values of names that nobody knows."""
    steps = set(ColumnNames(hints.columns).step_tags("step"))
    values = set(names) - steps - set(NOT_VALUES) - set(sample_columns(hints))
    return not steps.isdisjoint(names) and bool(values - {name for name in names if time_names([name])})


def _csv_names(head: Head, hints: Hints) -> list[str]:
    return list(hints.fields) or header_of(head)


@lru_cache(maxsize=2)  # asked by every format below
def _json_names(head: Head, hints: Hints) -> list[str]:
    """Return the names of all of a file: what a log is of may begin late in it."""
    names = dict.fromkeys(name for each in objects(head) for name in each)
    known = list(names)
    if head.is_cut and head.path is not None and names and _is_ours(known, hints):
        names |= dict.fromkeys(names_in(head.path))
    return list(names)


def _is_ours(names: list[str], hints: Hints) -> bool:
    said = hints.columns or hints.time
    return bool(said or kinds_in(names, hints) or (time_names(names) and _are_metrics(names, hints)))


def _parquet_names(head: Head, _: Hints) -> list[str]:
    schema = schema_in(head)
    return names_of_schema(schema) if schema is not None else []


def _columns(path: Path) -> list[str]:
    return names_of_schema(pq.read_schema(path))


def _formats(
    name: str,
    place: str,
    names: Callable[[Head, Hints], list[str]],
    rows: Rows,
    every: Every,
    hints: frozenset[str] = _HINTS,
) -> Iterable[Format]:
    for kinds in _KINDS:
        for is_timed in (True, False):
            yield _format(name, place, names, rows, every, hints, kinds, is_timed)
    yield _metrics_format(name, place, names, rows, every, hints)


def _format(
    name: str,
    place: str,
    names: Callable[[Head, Hints], list[str]],
    rows: Rows,
    every: Every,
    takes: frozenset[str],
    kinds: tuple[Kind, ...],
    is_timed: bool,
) -> Format:
    def fits(head: Head, hints: Hints) -> bool:
        found = names(head, hints)
        has_time = hints.time is not None or bool(time_names(found))
        return bool(found) and has_time == is_timed and (kinds_in(found, hints) or _KINDS[0]) == kinds

    def recognises(head: Head) -> bool:
        return bool(kinds_in(names(head, NO_HINTS), NO_HINTS)) and fits(head, NO_HINTS)

    def read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
        return TableLog(paths, name, hints, kinds, place, every).read(rows(paths[0], hints))

    return Format(
        name,
        kinds,
        recognises,
        read,
        has_clock=is_timed,
        hints=takes,
        asked_for=lambda head, hints: hints.time is not None and fits(head, hints),
        last_resort=lambda head, hints: bool(hints.columns or hints.fields) and fits(head, hints),
    )


def _metrics_format(
    name: str,
    place: str,
    names: Callable[[Head, Hints], list[str]],
    rows: Rows,
    every: Every,
    takes: frozenset[str],
) -> Format:
    """Return the format of a table of metrics at steps and times, none of which is a training's signal."""

    def recognises(head: Head) -> bool:
        found = names(head, NO_HINTS)
        is_timed = bool(time_names(found))
        return is_timed and not kinds_in(found, NO_HINTS) and _are_metrics(found, NO_HINTS)

    def read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
        return TableLog(paths, name, hints, ("step",), place, every).read(rows(paths[0], hints))

    return Format(name, ("step",), recognises, read, hints=takes, is_spare=True)


TABLES = (
    *_formats("a table (Parquet)", "row", _parquet_names, lambda path, _: parquet_rows(path), _columns),
    *_formats("JSON Lines", "line", _json_names, lambda path, _: json_rows(path), keys_in),
    *_formats(
        "a table (CSV)",
        "line",
        _csv_names,
        lambda path, hints: csv_rows(path, hints.fields),
        names_of_csv,
        _HINTS | {"fields"},
    ),
)
