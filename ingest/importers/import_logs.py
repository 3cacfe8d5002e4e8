"""Importing recorded logs into a run that is whole or not there at all."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from thermograd.ingest.importers.hints.given import NO_HINTS
from thermograd.ingest.importers.hints.use import WORDS, require_use, require_used
from thermograd.ingest.importers.import_facts import import_facts, run_facts, told_in
from thermograd.ingest.importers.preview import describe_preview, preview
from thermograd.ingest.importers.recording import EventKind, Hints, Kind, Recording, listed_names
from thermograd.ingest.importers.registry import ALLOWED
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.ingest.importers.rows.workplace import Progress, tell, working_in
from thermograd.ingest.importers.sources import Source, choose_sources
from thermograd.ingest.importers.steps.restart_marks import end_mark, restart_marks
from thermograd.ingest.importers.times.identity import require_one_device_a_name
from thermograd.ingest.importers.times.timing import in_time_order
from thermograd.ingest.importers.timezones import Zone, named_zone
from thermograd.store.errors import ImportFormatError
from thermograd.store.runs.write_run import events_in_order, whole_run
from thermograd.store.telling.quantities import counted, plural
from thermograd.store.text import printable

_NAMED_NULLS = 8
_NO_STEPS = (
    "none of its names is known as a training's loss, gradient norm or learning rate, so there are metrics "
    "and no steps; --column loss=NAME says which one is"
)
_COUNTED: tuple[EventKind, ...] = ("step", "sample", "metric")


def import_run(
    runs_dir: Path,
    paths: list[Path],
    training: Path | None = None,
    telemetry: Path | None = None,
    timezone: str | None = None,
    name: str | None = None,
    hints: Hints = NO_HINTS,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Import a step log, a device log, or both into one run; formats are recognised by content.

    What else a folder of `paths` holds is ignored and named; a file that is named itself must be of use.

    Parameters
    ----------
    training, telemetry
        The step log and the device log, where a folder holds several; a path, or a name in a folder.
    timezone
        Zone of times that name none: UTC, a name such as Europe/Vienna, or an offset such as +02:00.
    name
        What a person calls the run; default the folder's or file's name.
    dry_run
        Read everything and write nothing: ``run_id`` is None, and ``would`` says what would be taken from
        which column, with the first and the last event of each kind.
    progress
        Called while it goes on: what is done, how much of how much, rows so far.

    Returns
    -------
    dict
        ``run_id``, ``rows`` by kind, ``account`` (rows ``read`` = ``kept`` + ``merged`` + ``left_out``),
        ``files`` with the rows read of each, ``left_out`` by reason and ``first_left_out`` (where the first
        such row is, and what was wrong), ``nulls`` (cells that hold no value, by what they hold) and
        ``first_null``, ``columns`` (the log's name of each, where it has many), ``metrics`` (how many
        values there are of each other name), ``warnings``, ``ignored``, and ``timezone``: how it was found.

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
    chosen, ignored = choose_sources(paths, training, telemetry, hints)
    require_use(hints, {kind: (source.format, source.name) for kind, source in chosen.items()})
    with working_in(None if dry_run else runs_dir, progress):
        return _import(runs_dir, paths, name, chosen, ignored, zone, hints, dry_run)


def _import(
    runs_dir: Path,
    paths: list[Path],
    name: str | None,
    chosen: dict[Kind, Source],
    ignored: list[str],
    zone: Zone | None,
    hints: Hints,
    dry_run: bool,
) -> dict[str, Any]:
    """Read the logs, and write the run but in a dry run."""
    before = _stamps(chosen)
    recordings = _read(chosen, hints)
    _require_same(before, _stamps(chosen))
    pa.default_memory_pool().release_unused()
    tables, how = in_time_order(recordings, zone)
    require_used(hints, tables, [null for r in recordings for null in r.account.nulls])
    restarts = restart_marks(tables["step"]) if "step" in tables else None
    warnings = _doubts(recordings, tables)
    warnings += [] if restarts is None else restarts["text"].to_pylist()
    origin = import_facts(recordings, tables, how) | {"warnings": warnings}
    said = _said(recordings, tables, origin, ignored)
    if dry_run:
        would = preview(recordings, {kind: rows.parts() for kind, rows in tables.items()})
        return {"run_id": None, **said, "would": would}
    facts = run_facts(recordings, tables, origin)
    told = told_in(recordings)
    end = end_mark(told, facts["ended_time_ns"])
    marks = end if restarts is None else pa.concat_tables([restarts, end])
    called = name or (told.name if told is not None else None) or _default_name(paths, chosen)
    return {"run_id": _write(runs_dir, called, facts, marks, tables), **said}


def _said(
    recordings: list[Recording],
    tables: dict[EventKind, OrderedRows],
    origin: dict[str, Any],
    ignored: list[str],
) -> dict[str, Any]:
    """Return what `import_run` says, but for the run's id."""
    beside = {name for recording in recordings for name in recording.beside}
    ignored = [text for text in ignored if text.partition(": ")[0] not in beside]
    return {
        "rows": {kind: len(tables.get(kind, ())) for kind in _COUNTED},
        "account": origin["rows"],
        **{name: origin[name] for name in ("files", "left_out", "first_left_out", "nulls", "first_null")},
        **{name: origin[name] for name in ("columns", "metrics", "warnings")},
        "ignored": ignored + [f"{r.path.name}: {text}" for r in recordings for text in r.unused()],
        "timezone": origin["timezone"],
    }


def _write(
    runs_dir: Path, name: str, facts: dict[str, Any], marks: pa.Table, tables: dict[EventKind, OrderedRows]
) -> str:
    """Write the run as a whole and return its id."""
    with whole_run(runs_dir, name, facts, "import") as run:
        writer = run.open("import", "importer")
        for event in events_in_order({"mark": marks}):
            run.append(writer, *event)
        for kind, rows in tables.items():
            written = 0
            for part in rows.parts():
                run.append_table(writer, kind, part)
                written += len(part)
                tell("writing", written, len(rows), written)
    return run.run.run_id


def describe_import(result: dict[str, Any]) -> str:
    """Return what `import_run` returned as text."""
    files: list[dict[str, Any]] = result["files"]
    is_trial = result["run_id"] is None
    lines = ["Nothing is written. This would be imported:" if is_trial else f"Imported as {result['run_id']}"]
    for kind in WORDS:
        count = result["rows"][kind]
        read = [(file["name"], file["rows_read"][kind]) for file in files if file["rows_read"].get(kind)]
        source = printable(read[0][0]) if len(read) == 1 else f"{len(read)} files"
        rows = sum(rows for _, rows in read)
        of = f", of {counted(rows, 'row')} read from {source}" if read else ""
        lines.append(f"  {count:>8} {plural(count, f'{kind} event')}{of}")
    if count := result["rows"]["metric"]:
        names = printable(listed_names(result["metrics"]))
        lines.append(f"  {count:>8} {plural(count, 'metric event')}: {names}")
    for reason, count in result["left_out"].items():
        where = _first(count, result["first_left_out"][reason], len(files) > 1)
        lines.append(f"  {count:>8} {plural(count, 'row')} left out: {reason}, {where}")
    lines += _null_lines(result["nulls"], result["first_null"])
    lines += describe_preview(result["would"]) if is_trial else []
    if result["columns"] and not is_trial:
        told = ", ".join(f"{column} is {printable(tag)}" for column, tag in sorted(result["columns"].items()))
        lines.append(f"  columns: {told}")
    lines += [f"  warning: {warning}" for warning in result["warnings"]]
    lines += [f"  ignored: {ignored}" for ignored in result["ignored"]]
    return "\n".join([*lines, f"  times: {result['timezone']}", f"  rows: {_balance(result['account'])}"])


def _null_lines(nulls: dict[str, int], first: dict[str, str]) -> list[str]:
    most = sorted(nulls.items(), key=lambda null: -null[1])
    lines = [
        f"  {count:>8} {plural(count, 'cell')} null: {what}, {'first ' * (count > 1)}in {first[what]}"
        for what, count in most[:_NAMED_NULLS]
    ]
    rest = sum(count for _, count in most[_NAMED_NULLS:])
    return [*lines, f"  {rest:>8} cells null: others that hold no value"] if rest else lines


def _balance(account: dict[str, int]) -> str:
    """Return what became of the rows that were read."""
    return "{read} read = {kept} kept + {merged} merged + {left_out} left out".format(**account)


def _first(count: int, first: dict[str, Any], name_file: bool) -> str:
    """Return where the first of some rows is, and what was wrong: in line 17: 999."""
    where = f"{'first ' * (count > 1)}in {first['where']}" + (f" of {first['file']}" if name_file else "")
    return where if first["value"] is None else f"{where}: {first['value']}"


def _doubts(recordings: list[Recording], tables: dict[EventKind, OrderedRows]) -> list[str]:
    """Return in words what is doubtful of the devices, once every row is accounted for."""
    doubts = []
    for recording in recordings:
        recording.account.require_balance()
        doubts += [text for notes in recording.notes.values() for text in notes.values()]
        if recording.kind == "sample":
            doubts += require_one_device_a_name(recording, tables["sample"])
    if "metric" in tables and "step" not in tables and not any("steps" in r.notes for r in recordings):
        doubts.append(_NO_STEPS)
    return doubts


def _read(chosen: dict[Kind, Source], hints: Hints) -> list[Recording]:
    """Read each log once; return one recording with rows for each kind that was chosen of it."""
    kept: list[Recording] = []
    for source in dict.fromkeys(chosen.values()):
        wanted = [r for r in source.format.read(source.paths, hints) if chosen.get(r.kind) == source]
        usable = [recording for recording in wanted if not recording.is_empty]
        if not usable:
            for recording in wanted[1:]:
                wanted[0].absorb(recording)
            raise ImportFormatError(_nothing_usable(wanted[0]))
        for recording in wanted:
            if recording.is_empty:
                usable[0].absorb(recording)
        kept += usable
    return kept


def _stamps(chosen: dict[Kind, Source]) -> dict[Path, tuple[int, int]]:
    """Return which file each path is, and its size."""
    paths = [path for source in chosen.values() for path in source.paths]
    return {path: (path.stat().st_ino, path.stat().st_size) for path in paths if path.is_file()}


def _require_same(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> None:
    """Refuse a file that another one has taken the place of, or that was cut; one may grow."""
    for path, (file, size) in before.items():
        now = after.get(path)
        if now is None or now[0] != file or now[1] < size:
            raise ImportFormatError(f"{path}: was replaced or cut short while it was read; import it again")


def _nothing_usable(recording: Recording) -> str:
    name_file = len(recording.paths) > 1
    reasons = [
        f"{count} x {reason}, {_first(count, recording.account.first_left_out[reason], name_file)}"
        for reason, count in recording.account.left_out.most_common(3)
    ]
    told = "; ".join(reasons + recording.unused()[:3]) or "it has none"
    return f"{recording.path}: no usable row in this {WORDS[recording.kind]} ({told}); allowed is {ALLOWED}"


def _default_name(paths: list[Path], chosen: dict[Kind, Source]) -> str:
    first = paths[0] if paths else next(iter(chosen.values())).paths[0]
    return (first.resolve().name if first.is_dir() else first.stem) or "imported"
