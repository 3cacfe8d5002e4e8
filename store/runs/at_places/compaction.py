"""Folding a place's catalogue: the rows of all runs into one file, and the events of those that have ended.

Order: the events of each batch, under names of their own; then the catalogue that names them, created only if
nobody else has created that number; then, and only then, what it replaces is removed. Killed at any point, it
leaves what was there before, and files that nobody reads, which the next one removes.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import NotThereError, PlaceError
from thermograd.store.events import KINDS
from thermograd.store.files import whole_content
from thermograd.store.places.catalogue import (
    FOLDER,
    Known,
    Listing,
    decoded,
    decoded_entry,
    encoded,
    encoded_entry,
    entry_name,
    events_name,
    events_told,
    folded_name,
    listing,
    runs_of_batch,
)
from thermograd.store.places.folder import Folder
from thermograd.store.places.known import found_at, known_runs
from thermograd.store.places.mirror import Mirror
from thermograd.store.places.place import Place, place_of
from thermograd.store.places.stamps import stamps
from thermograd.store.runs.at_places.batches import Events, folded_events, size_of, whole_events
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.runs.table import RunRow
from thermograd.store.telling.quantities import counted

_ATTEMPTS = 8
LEAST_RUNS, MOST_RUNS = 50, 150  # of a batch
_MOST_BATCH_BYTES = 256 << 20
_SETTLED_S = 2.0  # a file system may tell the times of two changes apart no better
_LEFT_S = 3600.0  # after which a file that no catalogue names was left by a killed compaction
_KEPT = 2  # catalogues: who has just listed the last but one can still read it


class Compacted(NamedTuple):
    """What folding did.

    Attributes
    ----------
    runs
        Whose rows are in the catalogue now; those that are live, or have just changed, are not.
    folded
        Of these, whose events are.
    number
        Of the catalogue.
    least
        How many runs whose events are not folded make a file.
    is_new
        Whether it was written now: where nothing has changed, the last one stays.
    """

    place: str
    runs: int
    folded: int
    number: int
    least: int = LEAST_RUNS
    is_new: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as an object."""
        return self._asdict()

    def sentence(self) -> str:
        """Return it in words."""
        left = self.runs - self.folded
        waiting = f"; of {left:,} not: fewer than {self.least:,}" if 0 < left < self.least else ""
        return (
            f"{self.place}: {counted(self.runs, 'run')} in catalogue {self.number}"
            f"{'' if self.is_new else ', as before'}, "
            f"the events of {self.folded:,} in files of up to {MOST_RUNS} runs{waiting}"
        )


def compact(
    runs: Path | str, least_runs: int = LEAST_RUNS, tell: Callable[[str], None] = lambda _: None
) -> Compacted:
    """Fold the catalogue of a folder or URL anew; what has not changed since the last time stays.

    Parameters
    ----------
    runs
        The place.
    least_runs
        Fewer runs than this that have ended since are left as they are: a file of few is soon folded again.
    tell
        Is told how far it is.

    Raises
    ------
    PlaceError
        If the place cannot be read or written, or others fold it all the time.
    """
    place = place_of(runs)
    source: _Source = _Local(place) if isinstance(place, Folder) else _AtUrl(Mirror(place))
    for _ in range(_ATTEMPTS):
        with suppress(NotThereError):  # somebody has folded since it was listed
            done = _compacted(source, least_runs, tell)
            if done is not None:
                return done
    raise PlaceError(f"{source.place.url}: others fold it all the time; try again")


def _compacted(source: "_Source", least_runs: int, tell: Callable[[str], None]) -> Compacted | None:
    """Fold once; None where somebody else has created the same number first."""
    found = source.found()
    number = found.number + 1
    rows = {run.run_id: run for run in source.rows(found)}
    written: list[str] = []
    is_named = False
    try:
        for chunk in _chunks(source, _kept_batches(rows), least_runs):
            tell(f"folding the events of {len(chunk)} runs")
            _fold(source, rows, chunk, number, written)
        if not written and rows == _last(source, found.number):
            source.clean(rows)
            return _told(source, rows, found.number, least_runs, False)
        is_named = source.place.put(folded_name(number), encoded(rows.values()), create_only=True)
    finally:
        if not is_named:
            for name in written:
                source.place.delete(name)
    if not is_named:
        return None
    source.clean(rows)
    _clean(source.place, number, {run.batch for run in rows.values()})
    return _told(source, rows, number, least_runs, True)


def _told(source: "_Source", rows: dict[str, Known], number: int, least: int, is_new: bool) -> Compacted:
    folded = sum(bool(run.batch) for run in rows.values())
    return Compacted(source.place.url, len(rows), folded, number, least, is_new)


def _last(source: "_Source", number: int) -> dict[str, Known] | None:
    """Return what the last catalogue tells; None where there is none that can be read."""
    try:
        content = whole_content(source.root / folded_name(number))
        return {run.run_id: run for run in decoded(content, folded_name(number))}
    except (OSError, PlaceError):
        return None


def _kept_batches(rows: dict[str, Known]) -> list[str]:
    """Take runs out of batches of which less than half still holds; return the ids of those without one."""
    count: dict[str, int] = {}
    for run in rows.values():
        count[run.batch] = count.get(run.batch, 0) + 1
    for run_id, run in rows.items():
        if run.batch and count[run.batch] * 2 < runs_of_batch(run.batch):
            rows[run_id] = run._replace(batch="")
    return sorted(run_id for run_id, run in rows.items() if not run.batch)


def _chunks(source: "_Source", run_ids: list[str], least_runs: int) -> Iterator[dict[str, Events]]:
    """Yield the runs that are folded together: so many, and of so much, as a file may hold."""
    if len(run_ids) < least_runs:
        return
    part: dict[str, Events] = {}
    size = 0
    for run_id, events in source.at_hand(run_ids):
        its_size = size_of(events)
        if part and (len(part) >= MOST_RUNS or size + its_size > _MOST_BATCH_BYTES):
            yield part
            part, size = {}, 0
        part[run_id] = events
        size += its_size
    if part:
        yield part


def _fold(
    source: "_Source", rows: dict[str, Known], runs: dict[str, Events], number: int, written: list[str]
) -> None:
    batch = f"{number:08}-{len(written) // len(KINDS):04}-{len(runs):03}-{os.urandom(4).hex()}"
    for kind in KINDS:
        name = events_name(kind, batch)
        written.append(name)
        source.place.put(name, folded_events(runs, kind), create_only=True)
    for run_id in runs:
        events = source.events_of(rows[run_id])
        if events:  # it has not changed while it was read
            rows[run_id] = rows[run_id]._replace(batch=batch, events=events)


def _clean(place: Place, number: int, batches: Collection[str]) -> None:
    """Remove what is not read any more: catalogues before the last but one, events that none names."""
    found = listing(place.list(FOLDER))
    for file in found.folded:
        if int(Path(file.name).stem) <= number - _KEPT:
            place.delete(file.name)
    before_ns = time.time_ns() - int(_LEFT_S * 1e9)
    for (batch, _), file in found.events.items():
        if batch not in batches and file.modified_ns < before_ns:
            place.delete(file.name)


class _Local:
    """A folder of runs on this machine."""

    def __init__(self, place: Folder) -> None:
        self.place, self.root = place, place.path
        self._read: dict[str, str] = {}

    def found(self) -> Listing:
        return listing(self.place.list(FOLDER))

    def rows(self, found: Listing) -> Iterator[Known]:
        """Iterate over the rows of the runs that have ended: those that are known, the others looked at."""
        known = known_runs(self.root)
        for run in list_runs(self.root):
            told = known.get(run.path.name)
            if told is not None and told.entry:
                yield told
            elif (fresh := self._looked_at(run.path, told)) is not None:
                yield fresh

    def _looked_at(self, path: Path, told: Known | None) -> Known | None:
        before = stamps(str(path))
        if time.time_ns() - before.changed_ns < _SETTLED_S * 1e9:
            return None
        entry = RunRow(Run(path)).to_entry()
        if entry["state"] == "live" or stamps(str(path)).row != before.row or path.name != entry["run_id"]:
            return None
        events, batch = (told.events, told.batch) if told is not None else ("", "")
        return Known(path.name, before.row, events, batch, entry)

    def at_hand(self, run_ids: list[str]) -> Iterator[tuple[str, Events]]:
        for run_id in run_ids:
            self._read[run_id] = stamps(str(self.root / run_id)).events
            events = whole_events(self.root / run_id)
            if events is not None:
                yield run_id, events

    def events_of(self, run: Known) -> str:
        """Return the stamp of the run's events, if it is still the one of before they were read."""
        now = stamps(str(self.root / run.run_id)).events
        return now if now == self._read[run.run_id] else ""

    def clean(self, rows: dict[str, Known]) -> None:
        """Do nothing: a folder has no entries."""


class _AtUrl:
    """Runs at a URL, read through its mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror, self.place, self.root = mirror, mirror.place, mirror.root

    def found(self) -> Listing:
        self._tell_of_untold()
        return listing(self.place.list(FOLDER))

    def _tell_of_untold(self) -> None:
        """Write the entry of runs that nobody has shipped: copied to the URL by hand."""
        untold = [
            run.run_id for run in found_at(self._mirror, takes_older=False).runs.values() if not run.entry
        ]
        for path in self._mirror.fetch(untold):
            entry = RunRow(Run(path)).to_entry()
            if entry["state"] != "live" and entry["run_id"] == path.name:
                (content,) = self._mirror.contents([entry_name(path.name)])
                is_damaged = content is not None and not decoded_entry(content)
                self.place.put(entry_name(path.name), encoded_entry(entry), create_only=not is_damaged)

    def rows(self, found: Listing) -> Iterator[Known]:
        current = found_at(self._mirror, takes_older=False)
        if current.number != found.number:
            raise NotThereError(f"{self.place.url}: folded since it was listed")
        for run in current.runs.values():
            if run.entry and run.entry.get("state") != "live":
                yield run

    def at_hand(self, run_ids: list[str]) -> Iterator[tuple[str, Events]]:
        for start in range(0, len(run_ids), MOST_RUNS):
            for path in self._mirror.fetch(run_ids[start : start + MOST_RUNS]):
                events = whole_events(path)
                if events is not None:
                    yield path.name, events

    def events_of(self, run: Known) -> str:
        """Return the run's events by its entry, if those are what was fetched."""
        here = {"state": run.entry.get("state"), "events": Run(self.root / run.run_id).counts()}
        told = events_told(run.entry)
        return told if told == events_told(here) else ""

    def clean(self, rows: dict[str, Known]) -> None:
        """Remove the entries that are folded as they are: what is written later is newer, and read."""
        settled_ns = time.time_ns() - int(_SETTLED_S * 1e9)
        for run_id, file in listing(self.place.list(FOLDER)).entries.items():
            if run_id in rows and rows[run_id].stamp == file.etag and file.modified_ns < settled_ns:
                self.place.delete(file.name)


_Source = _Local | _AtUrl
