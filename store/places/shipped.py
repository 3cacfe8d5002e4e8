"""What a shipper says that it has brought to a URL: ``<run_id>/shipped/<writer>.json``, read in a mirror."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.files import is_folder, read_json, sealed_segments, whole_content, writer_files
from thermograd.store.places.cache import RUN_STATE
from thermograd.store.telling.quantities import duration_text

FOLDER = "shipped"
SILENT_S = (
    86_400.0  # after which a writer that has not ended is held to be gone: a network may be down for hours
)
_MOST_FOOTERS = 64  # are read: of a larger job some of the writers tell it
_ON_ITS_WAY_S = 150.0  # a shipper gives a sign of life each minute


class Shipped(NamedTuple):
    """One file that has been brought."""

    name: str
    sha256: str | None
    rows: int | None


def is_mirrored(run_dir: Path) -> bool:
    """Return whether a run's folder is a mirror of one at a URL."""
    return (run_dir / RUN_STATE).is_file()


def manifests(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Return what each writer's shipper says, by writer."""
    folder = run_dir / FOLDER
    if not is_folder(folder):
        return {}
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json")) if path.name[0] != "."}


def shipped_files(manifest: dict[str, Any]) -> Iterator[Shipped]:
    """Iterate over the files that a shipper says it has brought."""
    files = manifest.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and isinstance(file.get("name"), str):
            digest, rows = file.get("sha256"), file.get("rows")
            yield Shipped(
                file["name"],
                digest if isinstance(digest, str) else None,
                rows if type(rows) is int else None,
            )


def is_arriving(run_dir: Path, writer: str) -> bool:
    """Return whether a writer's events may still be on their way: its shipper has not said that it ended.

    One that has been silent for a day is held to be gone.
    """
    age_s = shipped_s_ago(run_dir, writer)
    return age_s is not None and age_s < SILENT_S


def shipped_s_ago(run_dir: Path, writer: str | None = None) -> float | None:
    """Return how long ago anything was brought of what has not ended; None where all has ended."""
    told = {
        name: manifest.get("shipped_until_ns")
        for name, manifest in manifests(run_dir).items()
        if manifest.get("ended") is not True and writer in (None, name)
    }
    until_ns = [ns for ns in told.values() if isinstance(ns, int)]
    if not until_ns:
        return None
    age_s = max(0, time.time_ns() - max(until_ns)) / 1e9
    if age_s >= SILENT_S:
        return age_s
    newest_ns = max(_last_events_ns(run_dir, told), default=0)  # a manifest is written each minute only
    return min(age_s, max(0, time.time_ns() - newest_ns) / 1e9)


def _last_events_ns(run_dir: Path, writers: Collection[str]) -> Iterator[int]:
    """Iterate over the times of the last events that have been brought, by the files' footers."""
    import pyarrow as pa

    last = {(s.writer, s.kind): s.path for s in sealed_segments(run_dir) if s.writer in writers}
    for path in list(last.values())[:_MOST_FOOTERS]:
        with suppress(OSError, ValueError, LookupError, pa.ArrowException):
            yield _newest_ns(path)


@lru_cache(maxsize=1024)  # a sealed file never changes
def _newest_ns(path: Path) -> int:
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    at = footer.schema.names.index("time_ns")
    groups = [footer.row_group(number).column(at).statistics for number in range(footer.num_row_groups)]
    return max(int(group.max) for group in groups if group is not None and group.has_min_max)


def told_now(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's row in a catalogue as it is now: of a live one how long it takes, and its silence."""
    row = dict(entry)
    if row.get("state") != "live":
        return row
    now_ns = time.time_ns()
    began_ns, shipped_ns = row.get("started_time_ns"), row.get("shipped_until_ns")
    row["duration_s"] = max(0.0, (now_ns - began_ns) / 1e9) if isinstance(began_ns, int) else None
    silent_s = (now_ns - shipped_ns) / 1e9 if isinstance(shipped_ns, int) else 0.0
    if silent_s > SILENT_S:
        row["state"] = "crashed"
    if silent_s > _ON_ITS_WAY_S:
        row["reason"] = f"nothing was shipped for {duration_text(silent_s)}"
    return row


def wrong_files(run_dir: Path) -> list[dict[str, Any]]:
    """Return, for `verify`, what a shipper says it has brought and is not at the URL, or is another."""
    found = []
    for manifest in manifests(run_dir).values():
        for file in shipped_files(manifest):
            path = run_dir / file.name
            if not path.is_file():
                reason = "it was shipped, and is not there any more"
            elif file.sha256 and sha256(whole_content(path)).hexdigest() != file.sha256:
                reason = "it is not what was shipped: another checksum"
            else:
                continue
            found.append({"path": file.name, "events": 0, "reason": reason})
    return found


def without_manifest(run_dir: Path) -> list[str]:
    """Return the writers of a run of whom no shipper says anything: they were copied by hand."""
    known = manifests(run_dir)
    return [path.stem for path in writer_files(run_dir) if path.stem not in known]
