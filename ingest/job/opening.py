"""What comes before a run records: its directory and files made."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.facts import plain_facts
from thermograd.ingest.job.labels import labels_here
from thermograd.ingest.job.rank import Place, agree_on_run_id, place_of_this_process
from thermograd.store.failures import warn
from thermograd.store.log.plain import PlainValues
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, default_runs_dir
from thermograd.store.secrets import collect_secrets, without_secrets
from thermograd.store.shipping.handover import is_spool

_LONGEST_NAME = 1000
_LONGEST_WAIT_S = 10.0
_turn = threading.RLock()  # a signal handler may start a run while one is being started


class Opened(NamedTuple):
    """A run's files in this process, and what is yet to be said of them."""

    path: Path
    writer: EventWriter
    place: Place
    describe: Callable[[], object]
    facts_left_out: int


def open_log(name: str, runs: Any, facts: Any, hz: float, has_agent: bool) -> Opened:
    """Create the run's directory and this process's files."""
    collect_secrets()
    directory = _local(runs if runs is not None else default_runs_dir())
    is_sent = is_spool(directory)
    name = without_secrets(PlainValues(longest_text=_LONGEST_NAME).text(name))
    place = place_of_this_process()
    run_id = agree_on_run_id(name, place)
    name = without_secrets(launcher_link.name_given(run_id) or name)
    ours = {"job": place._asdict(), "sampling_hz": hz}
    described, left_out = plain_facts(facts, ours, has_agent and place.local_rank == 0)
    describe = partial(create_run, directory, name, described, run_id)
    path = directory / run_id
    if place.rank == 0 or (is_sent and place.local_rank == 0):  # a spool has one node's part of the run
        describe()
    else:  # rank 0 describes the run
        path.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(path, run_id, new_writer_name(f"r{place.rank}"), labels=labels_here())
    return Opened(path, writer, place, describe, left_out)


def _local(runs: Any) -> Path:
    """Return the local directory that runs are written to, absolute: the script may change its own."""
    if ":" in str(runs):
        from thermograd.store.shipping.spool import local_runs, trouble_with

        if trouble := trouble_with(str(runs)):
            warn("thermograd: %s", trouble)
        runs = local_runs(runs)
    return Path(runs).absolute()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let threads begin a run one after the other; none is held up for long: it may train."""
    lock = _turn
    is_held = lock.acquire(timeout=_LONGEST_WAIT_S)
    try:
        yield
    finally:
        if is_held:
            lock.release()


def _forget_turn() -> None:
    """In a forked child: the thread that had the turn is the parent's."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_turn)
