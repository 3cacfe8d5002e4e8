"""What comes before a run records: its directory and files made."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.facts import plain_facts
from thermograd.ingest.job.rank import Place, agree_on_run_id, place_of_this_process
from thermograd.store.log.plain import PlainValues
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, default_runs_dir

_LONGEST_NAME = 1000


class Opened(NamedTuple):
    """A run's files in this process, and what is yet to be said of them."""

    path: Path
    writer: EventWriter
    place: Place
    describe: Callable[[], object]
    facts_left_out: int


def open_log(name: str, runs: Any, facts: Any, hz: float, has_agent: bool) -> Opened:
    """Create the run's directory and this process's files."""
    directory = Path(runs) if runs is not None else default_runs_dir()
    directory = directory.absolute()  # the script may change its own
    name = PlainValues(longest_text=_LONGEST_NAME).text(name)
    place = place_of_this_process()
    run_id = agree_on_run_id(name, place)
    name = launcher_link.name_given(run_id) or name
    ours = {"job": place._asdict(), "sampling_hz": hz}
    described, left_out = plain_facts(facts, ours, has_agent and place.local_rank == 0)
    describe = partial(create_run, directory, name, described, run_id)
    path = directory / run_id
    if place.rank == 0:
        describe()
    else:  # rank 0 describes the run
        path.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(path, run_id, new_writer_name(f"r{place.rank}"))
    return Opened(path, writer, place, describe, left_out)
