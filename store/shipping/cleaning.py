"""What a spool keeps: runs that are not shipped, and for some days those that are.

Nothing is deleted of which the place does not give back every byte.
"""

import time
from pathlib import Path

from thermograd.store.errors import NotThereError, ThermogradError
from thermograd.store.files import open_segments, quarantined, read_json, sealed_segments
from thermograd.store.places.place import Place
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.runs.retention import delete_run, finish_deletions
from thermograd.store.shipping.pace import seconds_of
from thermograd.store.shipping.parts import name_of
from thermograd.store.shipping.progress import Progress, progress_of

KEEP_DAYS = 7.0
_DAY_NS = 86_400 * 1_000_000_000


def keep_days() -> float:
    """Return how long a shipped run stays in the spool: ``$THERMOGRAD_KEEP_LOCAL_DAYS``; default 7."""
    return seconds_of("THERMOGRAD_KEEP_LOCAL_DAYS", KEEP_DAYS)


def clean(folder: Path, place: Place, days: float) -> list[str]:
    """Delete the runs of a spool folder that have been at the place for `days`; return their ids.

    A run that the place does not give back as it is here stays, whatever ``shipping.json`` says.
    """
    gone = []
    finish_deletions(folder)
    for run in list_runs(folder):
        if _is_due(progress_of(run.path), days) and is_proven(run, place):
            delete_run(run)
            gone.append(run.run_id)
    return gone


def _is_due(progress: Progress, days: float) -> bool:
    since_ns = progress.complete_since_ns
    is_whole = progress.is_complete and not progress.damaged and not progress.conflicts
    return is_whole and since_ns is not None and time.time_ns() - since_ns >= days * _DAY_NS


def is_proven(run: Run, place: Place) -> bool:
    """Return whether a place gives back every file of a run that has ended, byte for byte."""
    is_open = any(open_segments(run.path, suffix) for suffix in ("tail", "arrows"))
    if is_open or run.live_writers() or quarantined(run.path):
        return False
    try:
        return (
            bool(place.get(f"{run.run_id}/run.json"))
            and all(
                place.get(f"{run.run_id}/{name_of(segment)}") == segment.path.read_bytes()
                for segment in sealed_segments(run.path)
            )
            and _has_tags(run, place)
        )
    except (NotThereError, ThermogradError, OSError):
        return False


def _has_tags(run: Run, place: Place) -> bool:
    """Return whether the tags that people gave here are there: `tag` may have changed them since."""
    tags = run.path / "tags.json"
    return not tags.exists() or (read_json(tags) != {} and bool(place.get(f"{run.run_id}/tags.json")))
