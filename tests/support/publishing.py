"""Publishing in another process, which may be killed on the way."""

import os
import signal
from dataclasses import replace
from pathlib import Path

from thermograd.analysis.fleet.publishing.publish import publish
from thermograd.analysis.fleet.publishing.tables import Published, published_tables
from thermograd.store.runs.catalogue import list_runs


def published(runs: Path) -> list[Published]:
    """Return the tables of all runs of a directory."""
    return published_tables(list_runs(runs), runs)[0]


def publish_from(runs: Path, target_of: type, place: object, killed_at: int | None = None) -> None:
    """Publish all runs; kill this process as it reads the run at a place."""
    tables = published(runs)
    if killed_at is not None:
        sources = tables[0].sources
        sources[killed_at] = replace(sources[killed_at], rows=_killed)
    list(publish(tables, target_of(place)))


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
