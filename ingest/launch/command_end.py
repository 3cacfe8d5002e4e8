"""What the launcher writes into a run when its command has ended: the exit code, which it knows for sure."""

import json
from collections.abc import Iterable
from pathlib import Path

from thermograd.ingest.job.launcher_link import PLACE
from thermograd.store.failures import Guard
from thermograd.store.runs.ends import LAUNCHER, state_of_exit
from thermograd.store.shipping.handover import start_rest

_MARK = "command_ended"
_harmless = Guard("thermograd run could not record the exit code: %(error)s")


@_harmless
def record_end(hello: Path, exit_code: int) -> None:
    """Write the exit code into the run that each process of the command recorded last."""
    for path in runs_told(hello):
        with _harmless:
            _record(path, exit_code)


def runs_told(hello: Path) -> list[Path]:
    """Return the runs that the processes of the command recorded last."""
    return sorted({place for path in hello.iterdir() if (place := _last_place(path)) is not None})


def _last_place(told: Path) -> Path | None:
    """Return where a process that said hello recorded last; None where it did not."""
    places = [line.removeprefix(PLACE) for line in _lines(told) if line.startswith(PLACE)]
    return Path(places[-1]) if places else None


def _lines(told: Path) -> Iterable[str]:
    return told.read_text("utf-8", "replace").splitlines()


def _record(run_dir: Path, exit_code: int) -> None:
    from thermograd.store.log.seal import seal_run
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.processes import new_writer_name
    from thermograd.store.runs.catalogue import Run

    run = Run(run_dir)
    if not run.facts:  # moved, or taken away
        return
    ended = {"state": state_of_exit(exit_code), "exit_code": exit_code, "closed_by": "thermograd run"}
    writer = EventWriter(run_dir, run.run_id, new_writer_name(LAUNCHER), ("mark",), role=LAUNCHER)
    writer.append("mark", mark=_MARK, detail=json.dumps(ended))
    writer.close(ended)
    seal_run(run_dir, run.run_id, run.live_writers())
    start_rest(run_dir)
