"""Importing recorded logs into a run that is whole or not there at all."""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.ingest.importers.detect import ALLOWED
from thermograd.ingest.importers.recording import FirstLeftOut, Hints, Kind, Recording
from thermograd.ingest.importers.sources import WORDS, Source, choose_sources
from thermograd.ingest.importers.timing import in_time_order, out_of_order
from thermograd.ingest.importers.zones import named_zone
from thermograd.store.errors import ImportFormatError, LogError
from thermograd.store.events import column_names
from thermograd.store.host import host_facts, new_writer_name
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import build_run
from thermograd.store.text import printable

_BATCH_ROWS = 8192  # few, large batches: an import appends much faster than a training run
_CONSTANT_ROWS = 60
_CONSTANTS = {
    "temperature_c": "looks like a placeholder",
    "power_w": "looks like a placeholder",
    "sm_clock_mhz": "looks like a nominal or locked clock",
    "_a_load": "looks like a placeholder (not imported)",
}
_TimedEvent = tuple[int, str, dict[str, Any]]


def import_run(
    runs_dir: Path,
    paths: list[Path],
    training: Path | None = None,
    telemetry: Path | None = None,
    timezone: str | None = None,
    name: str | None = None,
    hints: Hints = Hints(),  # noqa: B008 - an immutable tuple
) -> dict[str, Any]:
    """Import a step log, a device log, or both into one run.

    Parameters
    ----------
    runs_dir
        The directory of all runs.
    paths
        Files and folders. Formats are recognised by content; what else a folder holds is ignored and
        named. A file that is named itself must be of use.
    training, telemetry
        The step log and the device log, where a folder holds several; a path, or a name in a folder.
    timezone
        Zone of times that name none: UTC, a name such as Europe/Vienna, or an offset such as +02:00.
    name
        What a person calls the run; default the folder's or file's name.
    hints
        When the training began and how long a step took, for a log of steps that has no times.

    Returns
    -------
    dict
        ``run_id``, ``rows`` by kind, ``files`` with the rows read of each, ``left_out`` by reason and
        ``first_left_out`` (where the first such row is, and what was wrong), ``ignored``, and
        ``timezone``: how it was found.

    Raises
    ------
    ImportFormatError
        If there is nothing to import, or too much, or a zone cannot be found. No run is left behind.
    MissingExtraError
        If a format needs a package that is not installed.
    LogError
        If the run cannot be written.
    """
    zone = named_zone(timezone) if timezone is not None else None
    chosen, ignored = choose_sources(paths, training, telemetry)
    _require_use(hints, chosen)
    recordings = _read(chosen, hints)
    tables, how = in_time_order(recordings, zone)
    facts = _facts(recordings, tables, how)
    run_id = _write(runs_dir, name or _default_name(paths, chosen), facts, tables)
    return {
        "run_id": run_id,
        "rows": {kind: len(tables.get(kind, ())) for kind in WORDS},
        **{name: facts["import"][name] for name in ("files", "left_out", "first_left_out")},
        "ignored": ignored + [f"{r.path.name}: {text}" for r in recordings for text in r.ignored],
        "timezone": how,
    }


def describe_import(result: dict[str, Any]) -> str:
    """Return what `import_run` returned as text."""
    files: list[dict[str, Any]] = result["files"]
    lines = [f"Imported as {result['run_id']}"]
    for kind, count in result["rows"].items():
        read = [(file["name"], file["rows_read"][kind]) for file in files if file["rows_read"].get(kind)]
        source = printable(read[0][0]) if len(read) == 1 else f"{len(read)} files"
        rows = sum(rows for _, rows in read)
        of = f", of {rows} row{'s' * (rows != 1)} read from {source}" if read else ""
        lines.append(f"  {count:>8} {kind} events{of}")
    for reason, count in result["left_out"].items():
        where = _first(count, FirstLeftOut(**result["first_left_out"][reason]), len(files) > 1)
        lines.append(f"  {count:>8} row{'s' * (count != 1)} left out: {reason}, {where}")
    lines += [f"  ignored: {ignored}" for ignored in result["ignored"]]
    return "\n".join([*lines, f"  times: {result['timezone']}"])


def _first(count: int, first: FirstLeftOut, name_file: bool) -> str:
    """Say where the first of some rows is, and what was wrong: in line 17: 999."""
    where = f"{'first ' * (count > 1)}in {first.where}" + (f" of {first.file}" if name_file else "")
    return where if first.value is None else f"{where}: {first.value}"


def _require_use(hints: Hints, chosen: dict[Kind, Source]) -> None:
    given = [
        f"--{name.removesuffix('_s').replace('_', '-')}" for name, value in hints._asdict().items() if value
    ]
    if given and ("step" not in chosen or chosen["step"].format.has_clock):
        what = f"{chosen['step'].name} has times of its own" if "step" in chosen else "there is no step log"
        raise ImportFormatError(f"{' and '.join(given)} is for a step log without times, but {what}")


def _read(chosen: dict[Kind, Source], hints: Hints) -> list[Recording]:
    """Read each log once; return one recording with rows for each kind that was chosen of it."""
    kept: list[Recording] = []
    for source in dict.fromkeys(chosen.values()):
        wanted = [r for r in source.format.read(source.paths, hints) if chosen.get(r.kind) == source]
        usable = [recording for recording in wanted if len(recording)]
        if not usable:
            for recording in wanted[1:]:
                wanted[0].absorb(recording)
            raise ImportFormatError(_nothing_usable(wanted[0]))
        for recording in wanted:
            if not len(recording):
                usable[0].absorb(recording)
        kept += usable
    return kept


def _nothing_usable(recording: Recording) -> str:
    name_file = len(recording.paths) > 1
    reasons = "; ".join(
        f"{count} x {reason}, {_first(count, recording.first_left_out[reason], name_file)}"
        for reason, count in recording.left_out.most_common(3)
    )
    reasons = reasons or "; ".join(recording.ignored[:3]) or "it has none"
    return (
        f"{recording.path}: no usable row in this {WORDS[recording.kind]} ({reasons}); allowed is {ALLOWED}"
    )


def _default_name(paths: list[Path], chosen: dict[Kind, Source]) -> str:
    first = paths[0] if paths else next(iter(chosen.values())).paths[0]
    return (first.resolve().name if first.is_dir() else first.stem) or "imported"


# -- facts -----------------------------------------------------------------------------------------


def _facts(recordings: list[Recording], tables: dict[Kind, pa.Table], how: str) -> dict[str, Any]:
    samples = next((r for r in recordings if r.kind == "sample"), None)
    estimated = next((r.estimated for r in recordings if r.estimated is not None), None)
    left_out: Counter[str] = sum((recording.left_out for recording in recordings), Counter())
    rows_read: Counter[tuple[Path, Kind]] = sum((recording.rows_read for recording in recordings), Counter())
    first = {reason: row for r in reversed(recordings) for reason, row in r.first_left_out.items()}
    # The host that imports is not the host that was recorded, of which nothing is known.
    return dict.fromkeys(host_facts()) | {
        "source": "imported",
        "clock": "imported, wall time only" + ("" if estimated is None else f", step times {estimated}"),
        "started_time_ns": min(table["_time_ns"][0].as_py() for table in tables.values()),
        "ended_time_ns": max(table["_time_ns"][-1].as_py() for table in tables.values()),
        "devices": _devices(samples, tables["sample"]) if samples is not None else {},
        "import": {
            "files": [
                _file(path, r, {kind: rows for (of, kind), rows in rows_read.items() if of == path})
                for path, r in {path: r for r in recordings for path in r.paths}.items()
            ],
            "timezone": how,
            "left_out": dict(left_out),
            "first_left_out": {reason: first[reason]._asdict() for reason in left_out},
            "out_of_order": sum(out_of_order(recording) for recording in recordings),
            "step_series_sha256": _series_digest(tables["step"]) if "step" in tables else None,
            "step_times_estimated": estimated,
        },
    }


def _file(path: Path, recording: Recording, rows_read: dict[Kind, int]) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": path.name,
        "sha256": digest,
        "format": recording.format,
        "definition": recording.definition,
        "rows_read": rows_read,
    }


def _series_digest(steps: pa.Table) -> str:
    """Return a hash of the (loss, grad_norm) series: runs with the same one are one trajectory, not two."""
    nothing = [None] * len(steps)
    loss, norm = (
        steps[name].to_pylist() if name in steps.column_names else nothing for name in ("loss", "grad_norm")
    )
    return hashlib.sha256(json.dumps(list(zip(loss, norm, strict=True))).encode()).hexdigest()


def _devices(recording: Recording, table: pa.Table) -> dict[str, dict[str, Any]]:
    found = {}
    for device in sorted(pc.unique(table["device"]).to_pylist()):
        rows = table.filter(pc.equal(table["device"], device))
        columns = [name for name in column_names("sample") if name in rows.column_names and name != "device"]
        found[device] = {
            "model": recording.models.get(device),
            "simulated": False,
            "sensors": [name for name in columns if rows[name].null_count < len(rows)],
            "suspect": _constants(rows) | recording.notes.get(device, {}),
        }
    return found


def _constants(rows: pa.Table) -> dict[str, str]:
    suspect = {}
    for column, looks in _CONSTANTS.items():
        if column not in rows.column_names or len(rows) < _CONSTANT_ROWS:
            continue
        values = pc.unique(rows[column])
        if len(values) == 1 and values[0].is_valid:
            text = f"constant {values[0].as_py()} in all {len(rows)} rows: {looks}"
            suspect[column.removeprefix("_")] = text
    return suspect


# -- into a run ------------------------------------------------------------------------------------


def _write(runs_dir: Path, name: str, facts: dict[str, Any], tables: dict[Kind, pa.Table]) -> str:
    """Write the events in time order and seal them; return the run's id."""
    from thermograd.store.log.seal import seal_run

    with build_run(runs_dir, name, facts) as run:
        writer = EventWriter(
            run.path, run.run_id, new_writer_name("import"), (), batch_rows=_BATCH_ROWS, role="importer"
        )
        try:
            events = (_events(kind, table) for kind, table in sorted(tables.items()))
            for time_ns, kind, values in heapq.merge(*events, key=lambda event: event[0]):
                writer.append(kind, time_ns=time_ns, monotonic_ns=time_ns, **values)
        finally:
            writer.close()
        sealed = seal_run(run.path, run.run_id).events
        missing = sum(len(table) - sealed.get(kind, 0) for kind, table in tables.items())
        if writer.lost or missing:
            lost = max(writer.lost, missing)
            raise LogError(f"{lost} events of the import could not be written to {runs_dir}")
        return run.run_id


def _events(kind: str, table: pa.Table) -> Iterator[_TimedEvent]:
    """Yield the rows as events, a batch at a time: as Python objects all of them would need much memory."""
    columns = [name for name in table.column_names if not name.startswith("_")]
    for start in range(0, len(table), _BATCH_ROWS):
        batch = table.slice(start, _BATCH_ROWS)
        times = batch["_time_ns"].to_pylist()
        for time_ns, values in zip(times, batch.select(columns).to_pylist(), strict=True):
            yield time_ns, kind, values
