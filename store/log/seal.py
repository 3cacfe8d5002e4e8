"""Sealing live segments to Parquet, and checking that every file of a run is whole."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOTDIR
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.files import (
    Segment,
    is_folder,
    is_plain_file,
    leftovers,
    open_dir,
    open_file,
    open_segments,
    quarantined,
    sealed_segments,
    strangers,
)
from thermograd.store.locks import ProcessLock
from thermograd.store.log.place import WRITER_LOCK, is_live
from thermograd.store.log.present.one_file import is_left_by_a_kill, read_segment
from thermograd.store.log.present.snapshots import apart, merged
from thermograd.store.log.reading.damage import Damage
from thermograd.store.log.reading.numbering import pieces
from thermograd.store.log.segments import sync_directory, write_parquet


class SealReport(NamedTuple):
    """What sealing did: events sealed by kind, files written, damage met on the way.

    `busy`: nothing, because another process seals this run.
    """

    events: dict[str, int]
    files: list[Path]
    damage: list[Damage]
    busy: bool = False


def seal_run(run_dir: Path, run_id: str, live_writers: frozenset[str] = frozenset()) -> SealReport:
    """Turn live segments into Parquet files. Repeatable, and safe to kill at any point.

    Parameters
    ----------
    run_dir, run_id
        The run.
    live_writers
        More writers that still run than those that hold their lock: of all these only segments that have
        a successor are sealed.

    Raises
    ------
    LogError
        If a file cannot be written or moved. What is not sealed stays as it was.

    Notes
    -----
    One process at a time seals a run. Order: write and sync the sealed file, rename it into place, then
    remove the live ones. A file with damage is moved to ``quarantine/`` as it is; what could be read of
    it is sealed.
    """
    lock = ProcessLock(run_dir, "seal")
    try:
        if not lock.acquire():
            return SealReport({}, [], [], busy=True)
        try:
            _check_places(run_dir)
            for left in leftovers(run_dir):
                left.unlink(missing_ok=True)
            return _seal_writers(run_dir, run_id, live_writers, lock)
        finally:
            lock.release()
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogError(f"cannot seal {run_dir}: {reason}; what is not sealed stays as it was") from error


def _check_places(run_dir: Path) -> None:
    """Refuse a run whose directories are links: what is sealed would go, and be removed, somewhere else."""
    for name in ("open", "sealed", "quarantine", *(f"sealed/{kind}" for kind in KINDS)):
        path = run_dir / name
        if os.path.lexists(path) and not is_folder(path):
            raise OSError(ENOTDIR, f"{name} is not a directory", str(path))


def _seal_writers(run_dir: Path, run_id: str, live_writers: frozenset[str], lock: ProcessLock) -> SealReport:
    report = SealReport({}, [], [])
    writers = {s.writer for suffix in ("arrows", "tail") for s in open_segments(run_dir, suffix)}
    for writer in sorted(writers):
        lock.refresh()
        with _ownership(run_dir, writer, live_writers) as is_ours:
            for kind, segments in sorted(_open_of(run_dir, writer).items()):  # now that nobody moves them
                streams = sorted(s for s in segments if s.path.suffix == ".arrows")
                for part in [segments] if is_ours else [[segment] for segment in streams[:-1]]:
                    _seal(run_dir, run_id, writer, kind, part, report)
            if is_ours:
                _remove_spares(run_dir, writer)
        if is_ours:
            with suppress(OSError):  # something is left in it, or it has never been there
                open_dir(run_dir, writer).rmdir()
    return report


def _open_of(run_dir: Path, writer: str) -> dict[str, list[Segment]]:
    """Return a writer's live files by kind: streams first, then tails, the order in which events moved."""
    kinds: dict[str, list[Segment]] = defaultdict(list)
    for suffix in ("arrows", "tail"):
        for segment in open_segments(run_dir, suffix, writer):
            kinds[segment.kind].append(segment)
    return kinds


def _remove_spares(run_dir: Path, writer: str) -> None:
    """Remove what a dead writer had opened in advance, without events."""
    with suppress(OSError):
        for spare in open_dir(run_dir, writer).glob("*.spare"):
            spare.unlink()


@contextmanager
def _ownership(run_dir: Path, writer: str, live_writers: frozenset[str]) -> Iterator[bool]:
    """Keep a dead writer's place free; give False where the writer lives, and its files are its own."""
    owner = ProcessLock(open_dir(run_dir, writer), WRITER_LOCK)
    if writer in live_writers or is_live(run_dir, writer):
        yield False
    elif not owner.path.exists():
        yield True
    else:
        try:
            yield owner.keep_free()
        finally:
            owner.release()


def _seal(
    run_dir: Path, run_id: str, writer: str, kind: str, segments: list[Segment], report: SealReport
) -> None:
    sealed = [s for s in sealed_segments(run_dir, kind) if s.writer == writer]
    next_seq = max(((s.last or 0) + 1 for s in sealed), default=0)
    tables, harmed = [], set()
    for segment in segments:
        if is_plain_file(segment.path):
            open_file(segment.path).close()  # what cannot be read now is no damage: it stays
        table, damage = read_segment(segment)
        if damage and not is_left_by_a_kill(segment, table, damage, segments):
            report.damage.append(damage)
            if damage.offset is not None:
                harmed.add(segment.path)
        table = table.slice(int(np.searchsorted(table["seq"].to_numpy(), next_seq)))  # they are in order
        if len(table):
            tables.append(table)
            next_seq = table.column("seq")[-1].as_py() + 1
    for part in pieces(pa.concat_tables(tables)) if tables else ():
        path = run_dir / "sealed" / kind / sealed_name(writer, part)
        write_parquet(path, signed(part, kind, run_id, writer), kind)
        report.files.append(path)
        report.events[kind] = report.events.get(kind, 0) + len(part)
    for segment in segments:
        _put_away(run_dir, segment, segment.path in harmed)


def sealed_name(writer: str, part: pa.Table) -> str:
    """Return the name of the sealed file of some events of a writer."""
    seqs = part.column("seq")
    return f"{writer}-{seqs[0].as_py():012}-{seqs[-1].as_py():012}.parquet"


def signed(part: pa.Table, kind: str, run_id: str, writer: str) -> pa.Table:
    """Return events with whose they are, as a sealed file holds them."""
    return part.replace_schema_metadata(arrow_schema(kind, run_id, writer).metadata)


def _put_away(run_dir: Path, segment: Segment, harmed: bool) -> None:
    if harmed:
        quarantine = run_dir / "quarantine"
        quarantine.mkdir(exist_ok=True)
        kept = quarantine / f"{segment.writer}-{segment.path.name}"
        while os.path.lexists(kept):
            kept = kept.with_name(f"{kept.name}.again")
        segment.path.replace(kept)
        sync_directory(quarantine)
    else:
        segment.path.unlink(missing_ok=True)


def verify_run(run_dir: Path) -> dict[str, Any]:
    """Read every file of a run with all its checksums and say what is whole and what is lost.

    Returns
    -------
    dict
        ``ok``, ``events`` by kind, ``torn_bytes``, and ``files``: path (relative to the run), events,
        for a damaged one ``offset`` and ``reason``, ``set_aside`` for one in ``quarantine/``. ``ok``: whether
        no acknowledged event can be missing; what a full disk tore off was none, its writer counted it.
    """
    files: list[dict[str, Any]] = []
    events = dict.fromkeys(KINDS, 0)
    next_seq: dict[tuple[str, str], int] = defaultdict(int)
    _, overlapping = apart(sealed_segments(run_dir))
    for segment, numbers, damage, is_harmless in sorted(_checked(run_dir), key=_place):
        key = segment.writer, segment.kind
        entry: dict[str, Any] = {"path": str(segment.path.relative_to(run_dir)), "events": len(numbers)}
        if damage:
            entry |= {} if is_harmless else {"reason": damage.reason}
            if damage.offset is not None:
                entry |= {"offset": damage.offset, "torn_bytes": _size(segment.path) - damage.offset}
        if len(numbers):
            if numbers[0] > next_seq[key]:
                entry["reason"] = f"events {next_seq[key]} to {numbers[0] - 1} of this writer are missing"
            if segment not in overlapping:
                events[segment.kind] += int((numbers >= next_seq[key]).sum())
            next_seq[key] = max(next_seq[key], int(numbers[-1]) + 1)
        files.append(entry)
    for segment, table in merged(run_dir, overlapping):
        events[segment.kind] += len(table)
    for path, reason in strangers(run_dir):
        files.append({"path": str(path.relative_to(run_dir)), "events": 0, "reason": reason})
    for path in quarantined(run_dir):
        told = {"path": str(path.relative_to(run_dir)), "events": 0, "reason": _KEPT}
        files.append(told | {"set_aside": True})
    torn = sum(entry.get("torn_bytes", 0) for entry in files)
    ok = not any("reason" in entry for entry in files)
    return {"ok": ok, "events": events, "torn_bytes": torn, "files": files}


def _place(checked: tuple[Segment, Any, Damage | None, bool]) -> tuple[str, str, int, str]:
    segment = checked[0]
    return segment.writer, segment.kind, segment.first, segment.path.suffix


_KEPT = "damaged earlier, kept as it was; what could be read of it is sealed; remove it once looked at"


def _checked(run_dir: Path) -> Iterator[tuple[Segment, Any, Damage | None, bool]]:
    """Iterate over a run's files, the numbers of the events that each gives, its damage, if it is harmless.

    In the order of `thermograd.store.log.reader.snapshot`, so that a run can be checked while it is written.
    """
    tails = _open_tails(run_dir)
    for listing in (lambda _: tails, _open_streams, sealed_segments):
        for segment in reversed(listing(run_dir)):
            with suppress(FileNotFoundError):  # a live writer has just moved its events on
                table, damage = read_segment(segment)
                numbers = table.column("seq").to_numpy()
                is_harmless = is_left_by_a_kill(segment, table, damage, tails)
                yield segment, numbers, damage or _misplaced(segment, table), is_harmless


def _open_tails(run_dir: Path) -> list[Segment]:
    return open_segments(run_dir, "tail")


def _open_streams(run_dir: Path) -> list[Segment]:
    return open_segments(run_dir, "arrows")


def _misplaced(segment: Segment, table: pa.Table) -> Damage | None:
    """Return what is wrong with a whole file whose name tells of other events than it has."""
    if not len(table):
        return None
    first, last = (table.column("seq")[i].as_py() for i in (0, -1))
    if first == segment.first and segment.last in (None, last):
        return None
    return Damage(segment.path, None, f"it holds the events {first} to {last}, which its name does not say")


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
