"""Where a run's devices stand in the population of what is kept, in lines."""

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.analysis.fleet.population.kept import kept_summaries, stamp_of
from thermograd.analysis.fleet.population.place import kept_path
from thermograd.analysis.fleet.population.population import Compared, DeviceStanding, population_of
from thermograd.analysis.fleet.population.standing import ENOUGH_OTHERS
from thermograd.analysis.fleet.population.summaries import summaries_of
from thermograd.analysis.fleet.population.telling import standing_sentence
from thermograd.store.runs.catalogue import Run

_MOST_LINES = 8
_MOST_KEPT_BYTES = 32 << 20  # of the file: read in a fifth of a second
_MOST_SAMPLES = 2_000_000  # of the run itself, where it is not kept: summed up in as much


def standing_lines(run: Run, models: set[str]) -> list[str]:
    """Return where a run's devices, of some models, stand, the farthest out first; empty if not known."""
    summaries = _known(run, models)
    if summaries is None:
        return []
    found = population_of(run, summaries)
    placed = [
        (each, device)
        for device in found.devices
        for each in device.metrics
        if each.percentile is not None and each.others >= ENOUGH_OTHERS
    ]
    placed.sort(key=_how_far_out)
    lines = [f"{device.label}: {standing_sentence(each, device)}" for each, device in placed[:_MOST_LINES]]
    more = len(placed) - _MOST_LINES
    return [*lines, f"{more} more: thermograd population {run.run_id}"] if more > 0 else lines


def _how_far_out(placed: tuple[Compared, DeviceStanding]) -> float:
    return -abs((placed[0].percentile or 0.0) - 50.0)


def _known(run: Run, models: set[str]) -> pa.Table | None:
    """Return the kept summaries of some models, with the run's own; None where there are none or too many."""
    runs_dir: Path = run.path.parent
    with suppress(OSError):
        if kept_path(runs_dir).stat().st_size > _MOST_KEPT_BYTES:
            return None
        kept, stamps = kept_summaries(runs_dir, models)
        if not kept.num_rows:
            return None
        if stamps.get(run.run_id) == stamp_of(run):
            return kept
        if run.counts()["sample"] > _MOST_SAMPLES:
            return None
        own, _ = summaries_of([run])
        return pa.concat_tables([kept.filter(pc.field("run_id") != run.run_id), own])
    return None
