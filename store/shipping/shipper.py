"""Ships what a run holds so far to a place, and can be killed anywhere: what is there is asked of the place.

A file has the numbers of its events in its name, is written only where there is none of that name, and never
again. Whoever comes next lists what is there and ships the rest.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from thermograd.store.errors import LogError, PlaceError
from thermograd.store.files import Segment, writer_files
from thermograd.store.places.place import Place
from thermograd.store.runs.catalogue import Run
from thermograd.store.shipping.facts import SmallFiles
from thermograd.store.shipping.parts import (
    Found,
    Part,
    look,
    name_of,
    new_parts,
    readable_rows,
    rows_outside,
    whole_part,
)
from thermograd.store.shipping.progress import Progress, progress_of
from thermograd.store.shipping.there import There, range_of

_FACTS_PERIOD_S = 60.0
_FIRST_FACTS_S = 5.0  # then after twice as long each time: a young run changes much in a minute
_FEW_FILES = 50
_GRACE_S = 120.0  # a part whose events a sealed file holds stays so long: a reader may be about to fetch it


class Shipper:
    """Ships one run to a place; one at a time, see `thermograd.store.shipping.rounds`.

    Attributes
    ----------
    progress
        How far it has come.
    is_over
        Whether the run had ended when it was last shipped: nothing more is to come.
    alarm
        Takes a sentence that a person has to read: another content is there under a name of ours.
    """

    def __init__(self, run_dir: Path, place: Place, url: str, alarm: Callable[[str], object]) -> None:
        self.run_id = Run(run_dir).run_id
        self.alarm, self.is_over = alarm, False
        self.progress: Progress = progress_of(run_dir, url)
        self._place = place
        self._there = There(place, self.run_id)
        self._small = SmallFiles(place, self.run_id)
        self._told: dict[str, dict[str, dict[str, Any]]] = {}
        self._superseded_s: dict[str, float] = {}
        self._leaving: set[str] = set()
        self._seen: set[str] = set()
        self._manifest_at_s: dict[str, float] = {}
        self._began_s = time.monotonic()
        self._facts_at_s = float("-inf")
        self._has_alert = False
        self._may_delete = True

    def ship(self, run_dir: Path, is_last: bool = True) -> Progress:
        """Ship what the run holds now; `Progress.is_complete` where it has ended and all of it is there.

        `is_last`: where not, it has not ended yet whatever its writers say: what they left is to be sealed.
        PlaceError where the place does not take it, LogError where the run cannot be read: call it again.
        """
        began_ns, is_over = time.time_ns(), is_last and not Run(run_dir).live_writers()
        found = look(run_dir)
        if self._has_news(run_dir):  # a run and its writers are to be seen from their start on
            self._tell_facts(run_dir, False)
        self._ship_all(found)
        self.progress.shipped_until_ns = began_ns
        self._remove_superseded(run_dir, found.sealed, is_over)
        if is_over or self._has_alert or self._are_facts_due(time.monotonic()):
            self._tell_facts(run_dir, is_over)
        self.is_over = is_over
        self._conclude(is_over and not self.progress.conflicts and self._is_all_there(found))
        return self.progress

    def _are_facts_due(self, now_s: float) -> bool:
        told_after_s = max(_FIRST_FACTS_S, self._facts_at_s - self._began_s)
        return now_s - self._facts_at_s >= min(_FACTS_PERIOD_S, told_after_s)

    def _conclude(self, is_complete: bool) -> None:
        since_ns = self.progress.complete_since_ns or time.time_ns()
        self.progress.is_complete = is_complete
        self.progress.complete_since_ns = since_ns if is_complete else None
        self.progress.error = None

    # -- files -------------------------------------------------------------------------------------------

    def _ship_all(self, found: Found) -> None:
        absent = [segment for segment in found.sealed if not self._is_there(segment)]
        self.progress.waiting = len(absent) + len(found.live)
        for segment in absent:
            for part in self._parts_of(segment):
                self._put(part)
            self.progress.waiting -= 1
        for writer, kind, table in found.live:
            for part in self._new(writer, kind, table):
                self._put(part)
            self.progress.waiting -= 1

    def _is_there(self, segment: Segment) -> bool:
        return self._sizes(segment).get(name_of(segment)) == segment.path.stat().st_size

    def _sizes(self, segment: Segment) -> dict[str, int]:
        return self._there.sizes(segment.writer, segment.kind)

    def _parts_of(self, segment: Segment) -> Iterator[Part]:
        """Give a sealed file as it is; of one that is damaged, what can be read of it."""
        try:
            yield whole_part(segment)
        except FileNotFoundError:  # another host's sealing has just replaced it
            return
        except LogError as error:
            if name_of(segment) not in self.progress.damaged:
                self.progress.damaged.append(name_of(segment))
                self.alarm(f"{error}; what can be read of it is shipped")
            yield from self._new(segment.writer, segment.kind, readable_rows(segment))

    def _new(self, writer: str, kind: str, table: pa.Table) -> Iterator[Part]:
        fresh = rows_outside(table, self._there.ranges(writer, kind)) if len(table) else table
        if len(fresh):
            yield from new_parts(self.run_id, writer, kind, fresh)

    def _put(self, part: Part) -> None:
        if part.name in self.progress.conflicts:
            return
        written = self._there.put(part)
        if written == "another":
            self.progress.conflicts.append(part.name)
            where = f"{self.progress.url}/{self.run_id}/{part.name}"
            self.alarm(f"{where} holds other events than ours of that name; it stays, and so does ours, here")
            return
        if written == "written":
            self.progress.files += 1
            self.progress.bytes += len(part.data)
            self._has_alert |= part.kind == "alert"
        self._files_of(part.writer)[part.name] = part.facts()

    def _remove_superseded(self, run_dir: Path, sealed: list[Segment], is_over: bool) -> None:
        """Remove parts of which the log's own file is there, after a while; first from what is told."""
        now_s, due = time.monotonic(), []
        for writer, kind in sorted({(s.writer, s.kind) for s in sealed}):
            for name in self._superseded(writer, kind, sealed):
                since_s = self._superseded_s.setdefault(name, now_s)
                if self._may_delete and (is_over or now_s - since_s >= _GRACE_S):
                    due.append((writer, kind, name))
        self._leaving |= {name for _, _, name in due}
        for writer in sorted({writer for writer, _, _ in due}):
            self._tell_files(run_dir, writer, False)
        for writer, kind, name in due:
            self._remove(writer, kind, name)

    def _superseded(self, writer: str, kind: str, sealed: list[Segment]) -> list[str]:
        there = self._there.sizes(writer, kind)
        ours = {name_of(s) for s in sealed if (s.writer, s.kind) == (writer, kind)}
        final = sorted(map(range_of, (ours & there.keys()).difference(self.progress.conflicts)))
        starts = [first for first, _ in final]

        def is_held(name: str) -> bool:
            first, last = range_of(name)
            at = bisect_right(starts, first)
            return at > 0 and last <= final[at - 1][1]

        return list(filter(is_held, there.keys() - ours))

    def _remove(self, writer: str, kind: str, name: str) -> None:
        try:
            self._there.delete(writer, kind, name)
        except PlaceError:  # keys that may only write: readers see the same event once all the same
            self._may_delete = False
        else:
            self._files_of(writer).pop(name, None)
            self._superseded_s.pop(name, None)

    # -- facts -------------------------------------------------------------------------------------------

    def _files_of(self, writer: str) -> dict[str, dict[str, Any]]:
        """Return what is known of the files of a writer that are there, by name."""
        if writer not in self._told:
            self._told[writer] = self._small.files_told(writer)
        return self._told[writer]

    def _has_news(self, run_dir: Path) -> bool:
        return not self._seen or bool({path.stem for path in writer_files(run_dir)} - self._seen)

    def _tell_facts(self, run_dir: Path, is_over: bool) -> None:
        """Write the small files; manifests first, for a writer of whom none tells is held to be dead."""
        self._seen = {path.stem for path in writer_files(run_dir)}
        for writer in sorted(self._seen | {*self._there.writers()}):
            if is_over or time.monotonic() >= self._manifest_at_s.get(writer, 0.0):
                self._tell_files(run_dir, writer, is_over)
        self._small.describe(run_dir)
        self._small.enter(run_dir, self._until_ns(run_dir))
        self._facts_at_s, self._has_alert = time.monotonic(), False

    def _tell_files(self, run_dir: Path, writer: str, is_over: bool) -> None:
        there, told = self._there.names(writer), self._files_of(writer)
        if writer in self._there.writers():
            files = [
                told.get(name) or _facts_of(run_dir / name, writer, size)
                for name, size in there.items()
                if name not in self._leaving
            ]
        else:  # nothing of it has been looked for yet: what was told before holds
            files = list(told.values())
        self._small.tell_files(writer, files, self._until_ns(run_dir), is_over)
        period_s = _FACTS_PERIOD_S * max(1.0, len(files) / _FEW_FILES)  # a long list is not told each minute
        self._manifest_at_s[writer] = time.monotonic() + period_s

    def _until_ns(self, run_dir: Path) -> int:
        """Return until when all events are there: at the latest from before the run's start."""
        return self.progress.shipped_until_ns or Run(run_dir).started_time_ns or 0

    def _is_all_there(self, found: Found) -> bool:
        """Return whether the place lists every event of the run, as it does now, not as we remember."""
        self._there.forget()
        for segment in found.sealed:
            if not self._is_there(segment) and name_of(segment) not in self.progress.damaged:
                return False
        harmed = [s for s in found.sealed if name_of(s) in self.progress.damaged]
        rest = [*found.live, *((s.writer, s.kind, readable_rows(s)) for s in harmed)]
        return not any(
            len(table) and len(rows_outside(table, self._there.ranges(writer, kind)))
            for writer, kind, table in rest
        )


def _facts_of(path: Path, writer: str, size_bytes: int) -> dict[str, Any]:
    """Return what a manifest says of a file that another process has shipped, and not told of."""
    kind, name = path.parent.name, f"sealed/{path.parent.name}/{path.name}"
    first, last = range_of(name)
    with suppress(LogError, FileNotFoundError):
        return whole_part(Segment(writer, kind, first, last, path)).facts()
    unknown = {"sha256": None, "last_time_ns": None}
    return {"name": name, "bytes": size_bytes, "rows": last - first + 1} | unknown
