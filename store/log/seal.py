"""Sealing live segments to Parquet, and checking that every file of a run is whole."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.files import Segment, open_dir, open_segments, sealed_segments
from thermograd.store.locks import ProcessLock
from thermograd.store.log.place import WRITER_LOCK, is_live
from thermograd.store.log.reader import read_segment
from thermograd.store.log.segments import Damage, sync_directory, write_parquet


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
            for left in (run_dir / "sealed").glob("*/.*.tmp"):  # of a sealer that was killed
                left.unlink(missing_ok=True)
            return _seal_writers(run_dir, run_id, live_writers, lock)
        finally:
            lock.release()
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogError(f"cannot seal {run_dir}: {reason}; what is not sealed stays as it was") from error


def _seal_writers(run_dir: Path, run_id: str, live_writers: frozenset[str], lock: ProcessLock) -> SealReport:
    report = SealReport({}, [], [])
    groups: dict[str, dict[str, list[Segment]]] = defaultdict(lambda: defaultdict(list))
    for segment in open_segments(run_dir, "arrows") + open_segments(run_dir, "tail"):
        groups[segment.writer][segment.kind].append(segment)
    for writer, kinds in sorted(groups.items()):
        lock.refresh()
        with _ownership(run_dir, writer, live_writers) as is_ours:
            for kind, segments in sorted(kinds.items()):
                streams = sorted(s for s in segments if s.path.suffix == ".arrows")
                for part in [segments] if is_ours else [[segment] for segment in streams[:-1]]:
                    _seal(run_dir, run_id, writer, kind, part, report)
        if is_ours:
            with suppress(OSError):  # something is left in it, or it has never been there
                for spare in open_dir(run_dir, writer).glob("*.spare"):  # without events
                    spare.unlink()
                open_dir(run_dir, writer).rmdir()
    return report


@contextmanager
def _ownership(run_dir: Path, writer: str, live_writers: frozenset[str]) -> Iterator[bool]:
    """Hold the lock of a dead writer; give False where the writer lives, and its files are its own."""
    owner = ProcessLock(open_dir(run_dir, writer), WRITER_LOCK)
    if writer in live_writers or is_live(run_dir, writer):
        yield False
    elif not owner.path.exists():
        yield True
    else:
        try:
            yield owner.acquire()
        finally:
            owner.release()


def _seal(
    run_dir: Path, run_id: str, writer: str, kind: str, segments: list[Segment], report: SealReport
) -> None:
    sealed = [s for s in sealed_segments(run_dir, kind) if s.writer == writer]
    next_seq = max(((s.last or 0) + 1 for s in sealed), default=0)
    tables, harmed = [], set()
    for segment in segments:  # streams first, then tails: the order in which events moved
        table, damage = read_segment(segment)
        if damage:
            report.damage.append(damage)
            harmed.add(segment.path)
        table = table.filter(pc.field("seq") >= next_seq)
        if len(table):
            tables.append(table)
            next_seq = table.column("seq")[-1].as_py() + 1
    if tables:
        table = pa.concat_tables(tables)
        seqs = table.column("seq")
        name = f"{writer}-{seqs[0].as_py():012}-{seqs[-1].as_py():012}.parquet"
        path = run_dir / "sealed" / kind / name
        write_parquet(path, table.replace_schema_metadata(arrow_schema(kind, run_id, writer).metadata), kind)
        report.files.append(path)
        report.events[kind] = report.events.get(kind, 0) + len(table)
    for segment in segments:
        _put_away(run_dir, segment, segment.path in harmed)


def _put_away(run_dir: Path, segment: Segment, harmed: bool) -> None:
    if harmed:
        quarantine = run_dir / "quarantine"
        quarantine.mkdir(exist_ok=True)
        segment.path.replace(quarantine / f"{segment.writer}-{segment.path.name}")
        sync_directory(quarantine)
    else:
        segment.path.unlink(missing_ok=True)


def verify_run(run_dir: Path) -> dict[str, Any]:
    """Read every file of a run with all its checksums and say what is whole and what is lost.

    Returns
    -------
    dict
        ``ok``, ``events`` by kind, ``torn_bytes``, and ``files``: path (relative to the run), events,
        and for a damaged one ``offset`` and ``reason``.
    """
    checked = [_checked(s) for s in open_segments(run_dir, "tail") + open_segments(run_dir, "arrows")]
    checked += [_checked(s) for s in sealed_segments(run_dir)]  # listed last: where live events go to
    events = dict.fromkeys(KINDS, 0)
    files: list[dict[str, Any]] = []
    next_seq: dict[tuple[str, str], int] = {}
    for segment, span, damage in sorted(filter(None, checked), key=itemgetter(0)):
        entry: dict[str, Any] = {"path": str(segment.path.relative_to(run_dir)), "events": 0}
        if damage:
            lost = segment.path.stat().st_size - damage.offset
            entry |= {"offset": damage.offset, "reason": damage.reason, "torn_bytes": lost}
        if span:
            first, last = span
            expected = next_seq.get((segment.writer, segment.kind), 0)
            if first > expected:
                entry["reason"] = f"events {expected} to {first - 1} of this writer are missing"
            entry["events"] = last - first + 1
            events[segment.kind] += max(0, last + 1 - max(expected, first))
            next_seq[segment.writer, segment.kind] = max(expected, last + 1)
        files.append(entry)
    for path in sorted((run_dir / "quarantine").glob("*")):
        name = str(path.relative_to(run_dir))
        files.append({"path": name, "events": 0, "reason": "damaged earlier, kept as it was"})
    torn = sum(entry.get("torn_bytes", 0) for entry in files)
    ok = not any("reason" in entry for entry in files)
    return {"ok": ok, "events": events, "torn_bytes": torn, "files": files}


def _checked(segment: Segment) -> tuple[Segment, tuple[int, int] | None, Damage | None] | None:
    """Return a file with the first and last `seq` that it gives, and its damage."""
    try:
        table, damage = read_segment(segment)
    except FileNotFoundError:  # a live writer has just moved its events on
        return None
    seqs = table.column("seq")
    return segment, (seqs[0].as_py(), seqs[-1].as_py()) if len(table) else None, damage
