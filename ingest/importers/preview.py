"""What an import would take, from which column, before anything is written."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.timezones import iso_utc
from thermograd.store.telling.quantities import counted, plural
from thermograd.store.text import printable

_WIDTH = 40


def preview(recordings: Iterable[Recording], rows: Mapping[str, Iterable[pa.Table]]) -> dict[str, Any]:
    """Return what would be events, by kind: rows, columns with the log's names, the first and the last.

    `rows` are those of a kind in time order, in parts.
    """
    by_kind: dict[str, Recording] = {recording.kind: recording for recording in recordings}
    return {kind: _of_kind(parts, by_kind.get(kind)) for kind, parts in rows.items()}


def _of_kind(parts: Iterable[pa.Table], recording: Recording | None) -> dict[str, Any]:
    count, first, last = 0, None, None
    values: dict[str, int] = {}
    for part in parts:
        if not len(part):
            continue
        count += len(part)
        first = part.slice(0, 1) if first is None else first
        last = part.slice(len(part) - 1)
        for name in part.column_names:
            values[name] = values.get(name, 0) + len(part) - part[name].null_count
    taken = {name: held for name, held in values.items() if not name.startswith("_") and held}
    return {
        "rows": count,
        "columns": [_column(name, held, count, recording) for name, held in taken.items()],
        "first": _event(first),
        "last": _event(last),
    }


def _column(name: str, held: int, rows: int, recording: Recording | None) -> dict[str, Any]:
    sources = recording.sources | recording.columns if recording is not None else {}
    unit = recording.unit_names.get(name) if recording is not None else None
    return {"column": name, "from": sources.get(name), "unit": unit, "values": held, "null": rows - held}


def _event(row: pa.Table | None) -> dict[str, Any] | None:
    if row is None:
        return None
    (values,) = row.to_pylist()
    known = {n: v for n, v in values.items() if not n.startswith("_") and v is not None}
    return {"time": _instant(values["_time_ns"]), "time_ns": values["_time_ns"]} | known


def _instant(time_ns: int) -> str:
    fraction = f"{time_ns % 10**9:09d}".rstrip("0")
    return f"{iso_utc(time_ns)}{'.' * bool(fraction)}{fraction}Z"


def describe_preview(would: Mapping[str, Any]) -> list[str]:
    """Return it as lines of text."""
    lines = []
    for kind, found in would.items():
        if not found["rows"]:
            continue
        columns = found["columns"] if kind != "metric" else []  # it has the log's own names
        lines.append(f"  {counted(found['rows'], f'{kind} event')}{' with these columns' * bool(columns)}:")
        lines += [_column_line(column) for column in columns]
        lines += [f"    {place:<5} {_event_line(found[place])}" for place in ("first", "last")]
    return lines


def _column_line(column: Mapping[str, Any]) -> str:
    source = printable(column["from"], _WIDTH) if column["from"] is not None else "(as the format has it)"
    unit = f" in {column['unit']}" if column["unit"] is not None else ""
    nulls = f", {column['null']} null" if column["null"] else ""
    told = f"{column['values']} {plural(column['values'], 'value')}{nulls}"
    return f"    {column['column']:<22} from {source}{unit}: {told}"


def _event_line(event: Mapping[str, Any]) -> str:
    told = [f"{name} {_shown(value)}" for name, value in event.items() if name[:4] != "time"]
    return f"{event['time']}  {', '.join(told)}"


def _shown(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return f"{int(value):,}" if whole else printable(value, _WIDTH)
