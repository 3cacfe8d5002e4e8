"""What ``show`` and a report say of a job's ranks and devices among each other, where there are enough."""

from thermograd.analysis.fleet.devices import FEWEST_RANKS
from thermograd.store.labels.hosts import writer_places
from thermograd.store.runs.catalogue import Run

_MOST_EVENTS = 3_000_000  # that are read for it: some seconds


def has_peers(run: Run) -> bool:
    """Return whether a run has three ranks or devices, by its small files alone: of fewer nothing is read."""
    devices = [name for name in run.facts.get("devices", {}) if name != "cpu"]
    return max(len(_ranks_of(run)), len(devices)) >= FEWEST_RANKS


def _ranks_of(run: Run) -> set[int]:
    return {writer.rank for writer in writer_places(run.writers()) if writer.rank is not None}


def peer_lines(run: Run) -> list[str]:
    """Return what is said of a job's ranks and devices among each other; empty without peers."""
    if not has_peers(run):
        return []
    counts = run.counts()
    events = counts["step"] + counts["sample"]
    if events > _MOST_EVENTS:
        return [f"Not worked out for {events:,} events; thermograd devices {run.run_id} tells it."]
    from thermograd.analysis.fleet.devices.one_job import one_job, one_job_lines

    return one_job_lines(one_job(run))
