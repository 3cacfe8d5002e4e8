"""Which runs a place holds, and what its catalogue knows of each, without opening any."""

import os
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from thermograd.store.errors import NotThereError, PlaceError, os_errors_as
from thermograd.store.events import KINDS
from thermograd.store.failures import warn
from thermograd.store.files import whole_content, write_file
from thermograd.store.places.cache import STATE
from thermograd.store.places.catalogue import (
    FOLDER,
    Known,
    Listing,
    decoded,
    decoded_entry,
    events_told,
    folded_name,
    listing,
    run_id_of,
)
from thermograd.store.places.folded import has_whole_events, newest_readable, tell_damage
from thermograd.store.places.folder import Folder
from thermograd.store.places.mirror import Mirror, bring_findings, may_be_run
from thermograd.store.places.place import FINDINGS, Entry, place_of
from thermograd.store.places.stamps import stamps

_LISTED = "listing.json"
_ATTEMPTS = 5
_SPARED_S = 600.0  # another process may be reading what it has just listed


class _Listed(msgspec.Struct, frozen=True):
    """What was found at a URL: beside the folded catalogue of a number, what is newer, and what is gone."""

    number: int
    newer: list[Known]
    gone: list[str]


class Found(NamedTuple):
    """The runs of a URL, the number of its catalogue, the files of folded events by batch and kind."""

    number: int
    runs: dict[str, Known]
    events: dict[tuple[str, str], Entry]


def local_runs(runs: Path | str) -> Path:
    """Return the local folder of a place of runs: the folder itself, or the mirror of a URL, listed anew."""
    place = place_of(runs)
    if isinstance(place, Folder):
        return place.path
    mirror = Mirror(place)
    found_at(mirror)
    return mirror.root


def fetched(runs: Path | str, kinds: Collection[str], run_ids: Collection[str] | None = None) -> Path:
    """Return the local folder of a place of runs, with the events of some kinds at hand.

    Those that are folded come in the folded files. A run that no catalogue knows comes whole, unless only
    its events are asked for: its row can be told in no other way.

    Parameters
    ----------
    runs
        A folder, of which nothing needs to be fetched, or a URL.
    kinds
        Kinds of events, ``"run"`` for the rows of the runs, ``"facts"`` for their small files, ``"findings"``
        for what analyses of all runs have found.
    run_ids
        Of these runs; of all by default.
    """
    place = place_of(runs)
    if isinstance(place, Folder):
        return place.path
    mirror = Mirror(place)
    found = found_at(mirror)
    of_runs = [run for run in found.runs.values() if run_ids is None or run.run_id in run_ids]
    events = frozenset(kinds) & KINDS.keys()
    of_runs = _with_readable_events(mirror, found, of_runs, events)
    untold = {run.run_id for run in of_runs if not run.entry} if "run" in kinds else set()
    mirror.fetch(untold)
    others = [run for run in of_runs if run.run_id not in untold]
    if FINDINGS in kinds:
        bring_findings(mirror)
    if "facts" in kinds:
        mirror.fetch((run.run_id for run in others if run.batch), ())
    if events or "facts" in kinds:
        mirror.fetch((run.run_id for run in others if not run.batch), events)
    return mirror.root


def known_runs(runs_dir: Path) -> dict[str, Known]:
    """Return what is known of the runs of a local folder, or of a mirror as it was last listed, by id.

    Of a local folder: what the catalogue tells of those that have not changed since it was folded.
    """
    if (runs_dir / STATE).is_dir():
        return _known_of_mirror(runs_dir)
    try:
        names = [name for name in os.listdir(runs_dir / FOLDER) if name.endswith(".parquet")]
    except OSError:
        return {}
    runs = _folded(runs_dir, f"{FOLDER}/{max(names)}") if names else {}
    return {run_id: now for run_id, run in runs.items() if (now := _unchanged(runs_dir, run)) is not None}


def is_mirror(runs_dir: Path) -> bool:
    """Return whether a folder of runs is the mirror of a URL: of its runs not all are at hand."""
    return (runs_dir / STATE).is_dir()


def _known_of_mirror(root: Path) -> dict[str, Known]:
    listed = _last_listed(root)
    runs = _folded(root, folded_name(listed.number)) if listed.number else {}
    for run_id in listed.gone:
        runs.pop(run_id, None)
    return runs | {run.run_id: run for run in listed.newer}


def _last_listed(root: Path) -> _Listed:
    with suppress(OSError, msgspec.MsgspecError, RecursionError):
        return msgspec.json.decode(whole_content(root / STATE / _LISTED), type=_Listed)
    return _Listed(0, [], [])


def _folded(runs_dir: Path, name: str) -> dict[str, Known]:
    try:
        return {run.run_id: run for run in decoded(whole_content(runs_dir / name), name)}
    except OSError:  # folded again, and removed, since it was listed
        return {}
    except PlaceError as error:
        warn("%s; the runs are opened instead", error)
        return {}


def _unchanged(runs_dir: Path, run: Known) -> Known | None:
    now = stamps(os.path.join(runs_dir, run.run_id))
    is_row, is_events = run.stamp == now.row, bool(run.batch) and run.events == now.events
    if not is_row and not is_events:
        return None
    return run._replace(
        entry=run.entry if is_row else {},
        batch=run.batch if is_events else "",
        events=run.events if is_events else "",
    )


def _with_readable_events(
    mirror: Mirror, found: Found, runs: list[Known], kinds: Collection[str]
) -> list[Known]:
    """Fetch the folded events of runs; return these, without their batch where a file of it is damaged."""
    batches = {run.batch for run in runs if run.batch}
    files = {at: file for at, file in found.events.items() if at[0] in batches and at[1] in kinds}
    mirror.fetch_files(files.values())
    harmed = {batch for (batch, _), file in files.items() if not has_whole_events(mirror, file)}
    if not harmed:
        return runs
    listed, unfolded = _last_listed(mirror.root), _unfolded(found.runs, harmed)
    newer = {run.run_id: run for run in listed.newer} | unfolded
    _keep(mirror.root, msgspec.structs.replace(listed, newer=list(newer.values())))
    return [unfolded.get(run.run_id, run) for run in runs]


def _unfolded(runs: Mapping[str, Known], batches: Collection[str]) -> dict[str, Known]:
    return {run_id: run._replace(batch="", events="") for run_id, run in runs.items() if run.batch in batches}


def found_at(mirror: Mirror, takes_older: bool = True) -> Found:
    """List a URL: its folders, its catalogue, the entries that are newer; keep what was found.

    `takes_older`: where the catalogue is damaged, go by the one before it, which knows of no change since.
    """
    for _ in range(_ATTEMPTS):
        with suppress(NotThereError):  # folded again since it was listed
            return _looked(mirror, takes_older)
    raise PlaceError(f"{mirror.place.url}: its catalogue changes faster than it can be read; try again")


def _looked(mirror: Mirror, takes_older: bool) -> Found:
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(lambda: listing(mirror.place.list(FOLDER)))
        there = dict.fromkeys(filter(may_be_run, mirror.place.folders()))
        found = listed.result()
    number, folded = newest_readable(mirror, found, takes_older)
    newer = _newer(mirror, {name: e for name, e in found.entries.items() if name in there}, folded)
    untold = [run_id for run_id in there if run_id not in folded and run_id not in newer]
    untold += [run_id for run_id, run in newer.items() if not run.entry]
    newer |= {path.name: Known(path.name, "") for path in mirror.fetch(untold, ())}
    newer = {run_id: _with_events(run, folded.get(run_id)) for run_id, run in newer.items()}
    newer = _unfolded(folded, _unusable_batches(folded, found, number)) | newer
    gone = sorted(folded.keys() - there.keys())
    newer = {run_id: run for run_id, run in newer.items() if run_id in there}
    _keep(mirror.root, _Listed(number, list(newer.values()), gone))
    runs = {run_id: run for run_id, run in folded.items() if run_id in there} | newer
    _remove_unfolded(mirror.root, found)
    return Found(found.number, runs, found.events)


def _unusable_batches(folded: Mapping[str, Known], found: Listing, number: int) -> set[str]:
    """Return the batches that are not all there, or of an older catalogue: there may be more since."""
    batches = {run.batch for run in folded.values() if run.batch}
    if number != found.number:
        return batches
    return {batch for batch in batches if any((batch, kind) not in found.events for kind in KINDS)}


def _newer(mirror: Mirror, entries: Mapping[str, Entry], folded: Mapping[str, Known]) -> dict[str, Known]:
    """Return the runs whose entry is another than that which is folded; fetched only if it changed.

    One whose entry is damaged has none: the run itself is to be looked at.
    """
    last = {run.run_id: run for run in _last_listed(mirror.root).newer}
    changed = {
        run_id: file
        for run_id, file in entries.items()
        if not (run_id in folded and folded[run_id].entry and folded[run_id].stamp == file.etag)
    }
    found = {run_id: last[run_id] for run_id, file in changed.items() if _is_of(last.get(run_id), file)}
    others = [file for run_id, file in changed.items() if run_id not in found]
    for file, content in zip(others, mirror.contents(file.name for file in others), strict=True):
        run_id, entry = run_id_of(file.name), decoded_entry(content)
        if run_id == entry.get("run_id"):
            found[run_id] = Known(run_id, file.etag, entry=entry)
        elif content is not None:
            tell_damage(f"{mirror.place.url}/{file.name} is damaged; the run is opened instead")
            found[run_id] = Known(run_id, "")
    return found


def _is_of(run: Known | None, file: Entry) -> bool:
    return run is not None and bool(run.entry) and run.stamp == file.etag


def _with_events(run: Known, folded: Known | None) -> Known:
    """Return a run with its folded events, where these are still all that it has."""
    if folded is None or not folded.batch or folded.events != events_told(run.entry):
        return run._replace(batch="", events="")
    return run._replace(batch=folded.batch, events=folded.events)


def _keep(root: Path, listed: _Listed) -> None:
    content = msgspec.json.encode(listed)
    with os_errors_as(PlaceError, f"cannot write the mirror {root}"):
        write_file(root / STATE / _LISTED, content)


def _remove_unfolded(root: Path, found: Listing) -> None:
    """Remove from the mirror folded files that the place does not have any more, unless they are new."""
    there = {file.name for file in (*found.events.values(), *found.folded)}
    for path in (root / FOLDER).rglob("*.parquet"):
        with suppress(OSError):
            if (
                path.relative_to(root).as_posix() not in there
                and time.time() - path.stat().st_ctime > _SPARED_S
            ):
                path.unlink()
