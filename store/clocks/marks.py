"""Recording the offsets between a job's hosts as `clock` marks, once the job is over."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thermograd.store.processes import rank_of_writer
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import without_nan

_MOST_STEPS = 1_000_000  # that are read for it: a second


def offset_marks(run_dir: Path, host: str) -> Iterator[dict[str, Any]]:
    """Yield the columns of a `clock` mark for each other host, if this is the one that records them.

    That is the host of rank 0, whose clock counts as right. Of a run on one host there is nothing to record.
    """
    run = Run(run_dir)
    writers = run.writers()
    hosts = {facts.get("boot_id") or facts.get("host") for facts in writers}
    first = [facts for facts in writers if rank_of_writer(str(facts.get("writer"))) == 0]
    if len(hosts) < 2 or not any(facts.get("host") == host for facts in first):
        return
    from thermograd.store.clocks.hosts import run_clocks  # loads scipy: not at the end of every agent
    from thermograd.store.clocks.telling import clock_lines

    clocks = run_clocks(run) if run.counts()["step"] <= _MOST_STEPS else None
    if clocks is None:
        return
    for clock, line in zip(clocks.hosts.values(), clock_lines(clocks), strict=True):
        told = {"offset": without_nan(asdict(clock)), "reference": clocks.reference}
        yield {"mark": "clock", "text": line, "detail": json.dumps(told)}
