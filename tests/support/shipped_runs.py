"""Runs to be shipped, and what a place must hold of them afterwards."""

from pathlib import Path

from thermograd.store.events import KINDS
from thermograd.store.files import sealed_segments
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.places.place import Place
from thermograd.store.runs.catalogue import Run, create_run


def new_run(runs: Path, writer: str = "host-r0-1-aaaaaa", batch_rows: int = 4) -> tuple[Run, EventWriter]:
    """Begin a run with small batches, so that its events stand in tails, streams and sealed files."""
    run = create_run(runs, "shipped", {"job": {"rank": 0}})
    return run, EventWriter(run.path, run.run_id, writer, batch_rows=batch_rows)


def log_steps(writer: EventWriter, first: int, count: int) -> None:
    """Log steps, some values of which are not finite, and a mark."""
    for step in range(first, first + count):
        loss = float("nan") if step % 7 == 3 else 1.0 / step
        writer.append("step", step=step, loss=loss, grad_norm=None if step % 5 == 0 else float(step))
    writer.append("mark", mark="note", text=f"{first + count}")


def assert_there(run: Run, place: Place, mirror: Path) -> None:
    """Fetch what a place has of a run: it must be the run's events, once, and its files byte for byte."""
    names = [entry.name for entry in place.list(run.run_id)]
    for name in names:
        path = mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(place.get(name))
    for kind in KINDS:
        here, there = read_kind(run.path, kind), read_kind(mirror / run.run_id, kind)
        assert there.num_rows == here.num_rows
        assert [str(row) for row in there.to_pylist()] == [str(row) for row in here.to_pylist()]
    ours = {f"{run.run_id}/sealed/{s.kind}/{s.path.name}": s.path for s in sealed_segments(run.path)}
    assert {name for name in names if "/sealed/" in name} == set(ours)
    for name, path in ours.items():
        assert (mirror / name).read_bytes() == path.read_bytes()
