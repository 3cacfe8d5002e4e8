"""What ``run.json`` says of imported logs: where they are from, their devices, what is suspect."""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import EventKind, Kind, Recording
from thermograd.ingest.importers.rows.constants import WATCHED
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.times.timing import out_of_order
from thermograd.store.events import column_names
from thermograd.store.processes import host_facts

_CONSTANT_ROWS = 60
_PART_BYTES = 1 << 20
_LOOKS = ("a placeholder", "a placeholder", "a nominal or locked clock", "a placeholder (not imported)")
_CONSTANTS = {name: f"looks like {what}" for name, what in zip(WATCHED, _LOOKS, strict=True)}


def import_facts(
    recordings: list[Recording], tables: dict[EventKind, OrderedRows], how: str
) -> dict[str, Any]:
    """Return where the events are from, and what was left out; `how` tells how their times were read."""
    accounts = [recording.account for recording in recordings]
    left_out: Counter[str] = sum((account.left_out for account in accounts), Counter())
    nulls: Counter[str] = sum((account.nulls for account in accounts), Counter())
    rows_read: Counter[tuple[Path, str]] = sum((account.read for account in accounts), Counter())
    told = told_in(recordings)
    first = {reason: row for account in reversed(accounts) for reason, row in account.first_left_out.items()}
    return {
        "files": [
            _file(path, r, {kind: rows for (of, kind), rows in rows_read.items() if of == path})
            for path, r in {path: r for r in recordings for path in r.paths}.items()
        ],
        "rows": {
            "read": sum(account.read.total() for account in accounts),
            "kept": sum(account.kept for account in accounts),
            "merged": sum(account.merged for account in accounts),
            "left_out": left_out.total(),
        },
        "run": told.facts() if told is not None else None,
        "nulls": dict(nulls),
        "first_null": {
            key: where for account in reversed(accounts) for key, where in account.first_null.items()
        },
        "metrics": {name: count for r in recordings for name, count in r.metrics.counts().items()},
        "columns": {column: tag for r in recordings for column, tag in r.columns.items()},
        "timezone": how,
        "left_out": dict(left_out),
        "first_left_out": {reason: first[reason] for reason in left_out},
        "out_of_order": sum(out_of_order(recording) for recording in recordings),
        "step_series_sha256": _series_digest(tables["step"]) if "step" in tables else None,
        "step_times_estimated": _estimated(recordings, "step"),
        "sample_times_estimated": _estimated(recordings, "sample"),
    }


def run_facts(
    recordings: list[Recording], tables: dict[EventKind, OrderedRows], origin: dict[str, Any]
) -> dict[str, Any]:
    """Return the facts of the run; of the host that was recorded, not the one that imports, none is known."""
    estimated = {kind: origin[f"{kind}_times_estimated"] for kind in ("step", "sample")}
    devices = [_devices(r, tables["sample"]) for r in recordings if r.kind == "sample"]
    told = told_in(recordings)
    config = {name: value for recording in recordings for name, value in recording.config.items()}
    return dict.fromkeys(host_facts()) | {
        "source": "imported",
        "clock": "imported, wall time only"
        + "".join(f", {kind} times {how}" for kind, how in estimated.items() if how is not None),
        **_times(told, tables),
        **({"host": told.host} if told is not None and told.host is not None else {}),
        "devices": devices[0] if devices else {},
        **({"config": config} if config else {}),
        "import": origin,
    }


def told_in(recordings: list[Recording]) -> ToldOfRun | None:
    """Return what the logs say of the run as a whole; None where none does."""
    return next((recording.told for recording in recordings if recording.told is not None), None)


def _times(told: ToldOfRun | None, tables: dict[EventKind, OrderedRows]) -> dict[str, int]:
    """Return when a run began and ended: by its events, or before and after them as the log says."""
    began = [table.first_ns for table in tables.values()]
    ended = [table.last_ns for table in tables.values()]
    if told is not None:
        began += [told.began_ns] if told.began_ns is not None else []
        ended += [told.ended_ns] if told.ended_ns is not None else []
    return {"started_time_ns": min(began), "ended_time_ns": max(ended)}


def _estimated(recordings: list[Recording], kind: Kind) -> str | None:
    """Return how the times of a kind were estimated; None where they are of the log."""
    return next((r.estimated for r in recordings if r.kind == kind and r.estimated is not None), None)


def _file(path: Path, recording: Recording, rows_read: dict[str, int]) -> dict[str, Any]:
    return {
        "name": path.name,
        "sha256": _digest(path, recording.read_bytes),
        "format": recording.format,
        "definition": recording.definition,
        "rows_read": rows_read,
    }


def _digest(path: Path, size: int | None) -> str:
    """Return the SHA-256 of a file, or of what was read of one that grows."""
    with path.open("rb") as file:
        if size is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while size and (part := file.read(min(size, _PART_BYTES))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


def _series_digest(steps: OrderedRows) -> str:
    """Return a hash of the (loss, grad_norm) series: runs with the same one are one trajectory, not two."""
    digest, before = hashlib.sha256(b"["), ""
    for part in steps.parts():
        nothing = [None] * len(part)
        loss, norm = (
            part[name].to_pylist() if name in part.column_names else nothing for name in ("loss", "grad_norm")
        )
        digest.update((before + json.dumps(list(zip(loss, norm, strict=True)))[1:-1]).encode())
        before = ", "
    digest.update(b"]")
    return digest.hexdigest()


def _devices(recording: Recording, samples: OrderedRows) -> dict[str, dict[str, Any]]:
    found, places = {}, _credible_places(recording)
    columns = [name for name in column_names("sample") if name in samples.columns and name != "device"]
    numbers = {samples.store.devices[code]: (code, len(rows)) for code, rows in samples.store.by_device()}
    for device, (code, rows) in sorted(numbers.items()):
        found[device] = {
            "model": recording.models.get(device),
            **places.get(device, {}),
            "simulated": False,
            "sensors": [name for name in columns if samples.store.constants.holds(name, code)],
            "suspect": _constants(samples, code, rows) | recording.notes.get(device, {}),
        }
    return found


def _credible_places(recording: Recording) -> dict[str, dict[str, Any]]:
    """Return index and host of the devices, without an index that two GPUs of a host have: it is none."""
    gpus: dict[tuple[Any, Any], set[str]] = defaultdict(set)
    for device, place in recording.places.items():
        gpus[place.get("host"), place.get("index")].add(device.partition("/")[0])  # of MIG: the whole GPU
    return {
        device: {k: v for k, v in place.items() if k != "index" or len(gpus[place.get("host"), v]) == 1}
        for device, place in recording.places.items()
    }


def _constants(samples: OrderedRows, code: int, rows: int) -> dict[str, str]:
    suspect = {}
    for column, looks in _CONSTANTS.items():
        value = samples.store.constants.constant(column, code)
        if value is not None and rows >= _CONSTANT_ROWS:
            text = f"constant {value} in all {rows} rows: {looks}"
            suspect[column.removeprefix("_")] = text
    return suspect
