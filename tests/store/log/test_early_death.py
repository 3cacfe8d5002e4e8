"""A process that dies right after its first steps, and readers that come while what it left is sealed."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from thermograd.store.files import open_segments
from thermograd.store.locks import ProcessLock
from thermograd.store.log import place, seal
from thermograd.store.log.following import follower
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.present import snapshots
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.log.reader import kind_parts, read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.tail_codec import kind_codec
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run

_STEPS = 100
_BEGINS = """
import os, sys, time
from pathlib import Path
from thermograd.store.log.writer import EventWriter
run_dir = Path(sys.argv[1])
writer = EventWriter(run_dir, run_dir.name, "w", batch_rows=int(sys.argv[2]))
steps = iter(range(1, 10**6))
append = lambda: writer.append("step", step=next(steps))
"""
_DIES_EARLY = f"{_BEGINS}\nfor _ in range({_STEPS}): append()\nos._exit(3)"
_DIES_AFTER_A_BATCH = f"""{_BEGINS}
while (run_dir / "open/w/step-000000000000.tail").exists():
    append()
    time.sleep(0.001)
append()
os._exit(3)
"""


def _die(run_dir, script, batch_rows):
    command = [sys.executable, "-c", script, str(run_dir), str(batch_rows)]
    assert subprocess.run(command, check=False).returncode == 3


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    """A run whose process has died after its first hundred steps."""
    run = create_run(tmp_path_factory.mktemp("dead"), "early")
    _die(run.path, _DIES_EARLY, 1024)
    return run.path


@pytest.fixture
def dead(left_behind, tmp_path):
    """The same, for one test."""
    return Run(shutil.copytree(left_behind, tmp_path / left_behind.name))


_READERS = {
    "count_events": lambda run: count_events(run.path, "step"),
    "counts": lambda run: run.counts()["step"],
    "read_kind": lambda run: len(read_kind(run.path, "step")),
    "kind_parts": lambda run: sum(map(len, kind_parts(run.path, "step"))),
    "query": lambda run: query("SELECT count(*) AS n FROM steps", [run])["n"][0].as_py(),
    "verify": lambda run: verify_run(run.path)["events"]["step"],
}
_LISTINGS = [
    *((module, name) for module in (snapshots, seal) for name in ("open_segments", "sealed_segments")),
    (snapshots, "has_open_folders"),
    (follower, "open_segments"),
    (follower, "sealed_segments"),
]


def _sealed_after(monkeypatch, run, number):
    """Let the run be sealed right after a reader's listing of this number; return which it has made."""
    made = []

    def watched(listing):
        def call(*arguments, **options):
            found = listing(*arguments, **options)
            if not is_sealing:
                made.append(listing)
                if len(made) == number:
                    is_sealing.append(True)
                    assert seal_run(run.path, run.run_id).events["step"] == _STEPS
                    is_sealing.clear()
            return found

        return call

    is_sealing = []
    for module, name in _LISTINGS:
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return made


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("read", _READERS.values(), ids=_READERS)
def test_what_is_sealed_while_it_is_read_is_read(dead, monkeypatch, read, number):
    made = _sealed_after(monkeypatch, dead, number)
    assert read(dead) == _STEPS
    if len(made) >= number:
        assert not open_segments(dead.path, "tail")


@pytest.mark.parametrize("number", range(1, 7))
def test_what_is_sealed_while_it_is_followed_is_followed(dead, monkeypatch, number):
    follower = Follower(dead.path, ("step",))
    _sealed_after(monkeypatch, dead, number)
    events = follower.poll()
    assert [event.values["step"] for event in events] == list(range(1, _STEPS + 1))


def test_what_a_writer_moves_before_it_dies_is_not_lost_to_the_sealer(tmp_path, monkeypatch):
    """The sealer lists the files of a writer when that is dead, and nobody moves events between them."""
    run = create_run(tmp_path, "moving")
    listing, calls = seal.open_segments, []

    def list_and_die(*arguments, **options):
        found = listing(*arguments, **options)
        calls.append(found)
        if len(calls) == 1:  # of the streams, before there is one
            _die(run.path, _DIES_AFTER_A_BATCH, 16)
        return found

    monkeypatch.setattr(seal, "open_segments", list_and_die)
    seal_run(run.path, run.run_id)
    monkeypatch.undo()
    steps = read_kind(run.path, "step")["step"].to_pylist()
    seal_run(run.path, run.run_id)
    assert len(steps) > 16
    assert steps == list(range(1, len(steps) + 1)) == read_kind(run.path, "step")["step"].to_pylist()
    assert verify_run(run.path)["ok"]


def test_a_dead_run_is_not_live_while_it_is_sealed(dead, monkeypatch):
    states = []
    written = seal.write_parquet

    def look_and_write(*arguments):
        states.append(Run(dead.path).state())
        written(*arguments)
        states.append(Run(dead.path).state())

    monkeypatch.setattr(seal, "write_parquet", look_and_write)
    seal_run(dead.path, dead.run_id)
    assert set(states) == {"crashed"}


def test_a_place_that_is_kept_free_is_nobodys_and_nobody_gets_it(tmp_path):
    dead = ProcessLock(tmp_path, place.WRITER_LOCK)
    assert dead.acquire()
    content = dead.path.read_bytes()
    dead._let_go()
    sealer, writer = ProcessLock(tmp_path, place.WRITER_LOCK), ProcessLock(tmp_path, place.WRITER_LOCK)
    assert sealer.keep_free()
    assert place.is_held(sealer.path) is False
    assert sealer.path.read_bytes() == content
    assert not writer.acquire()
    sealer.release()
    assert writer.acquire()
    assert not sealer.keep_free()


_STOPS_IN_A_BATCH = f"""
import os, sys, threading
from thermograd.store.log.writing import live_stream
for eighths in range(8):
    if os.fork():
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
        continue
    sys.argv[1:] = [sys.argv[1 + eighths], "16"]{textwrap.indent(_BEGINS, "    ")}
    are_appended = threading.Event()
    def write_part(handle, data, size, path, what):
        are_appended.wait()
        os.write(handle, data[: len(data) * eighths // 8])
        os._exit(3)
    live_stream.write_whole = write_part
    for _ in range(40): append()
    are_appended.set()
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Eight runs whose process a kill has met in a batch, after none to seven eighths; kept so."""
    runs = [create_run(tmp_path_factory.mktemp("cut"), "cut") for _ in range(8)]
    command = [sys.executable, "-c", _STOPS_IN_A_BATCH, *(str(run.path) for run in runs)]
    subprocess.run(command, check=True, timeout=120)
    return runs


@pytest.fixture
def cut_at(cut, tmp_path):
    """Return a function that gives a copy of one of them, for one test."""
    return lambda eighths: Run(shutil.copytree(cut[eighths].path, tmp_path / cut[eighths].path.name))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("eighths", range(8))
def test_a_batch_that_a_kill_cut_is_no_damage_while_its_events_are_in_a_tail(cut_at, caplog, eighths):
    run = cut_at(eighths)
    steps = list(range(1, 41))
    assert verify_run(run.path)["ok"]
    assert not snapshots.snapshot(run.path, "step").damage
    assert query("SELECT step FROM steps ORDER BY step", [run])["step"].to_pylist() == steps
    assert not seal_run(run.path, run.run_id).damage
    assert not (run.path / "quarantine").exists()
    assert read_kind(run.path, "step")["step"].to_pylist() == steps
    assert verify_run(run.path)["ok"]
    assert not caplog.records


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_batch_that_is_cut_and_in_no_tail_is_damage(cut_at):
    run = cut_at(4)
    next(s for s in open_segments(run.path, "tail") if s.kind == "step").path.unlink()
    assert not verify_run(run.path)["ok"]
    assert seal_run(run.path, run.run_id).damage
    assert list((run.path / "quarantine").iterdir())


@pytest.mark.parametrize("kind", ["step", "mark"])
@pytest.mark.parametrize("kept", [1, 7, 8, 20])
def test_an_event_that_a_kill_cut_was_never_acknowledged_and_is_no_damage(dead, caplog, kind, kept):
    tail = next(s for s in open_segments(dead.path, "tail") if s.kind == kind)
    values = {"step": 101} if kind == "step" else {"mark": "note", "text": "cut", "detail": "{}"}
    record = kind_codec(kind).pack_values(200, 1, 1, values)
    with tail.path.open("ab") as file:
        file.write(record[:kept])
    report = verify_run(dead.path)
    assert (report["ok"], report["torn_bytes"]) == (True, kept)
    assert not snapshots.snapshot(dead.path, kind).damage
    assert not seal_run(dead.path, dead.run_id).damage
    assert not (dead.path / "quarantine").exists()
    assert len(read_kind(dead.path, "step")) == _STEPS
    assert not caplog.records


def test_a_record_that_is_whole_and_wrong_is_damage(dead):
    tail = next(s for s in open_segments(dead.path, "tail") if s.kind == "step")
    data = bytearray(tail.path.read_bytes())
    data[-1] ^= 1
    tail.path.write_bytes(bytes(data))
    assert not verify_run(dead.path)["ok"]
    assert seal_run(dead.path, dead.run_id).damage


def test_a_log_that_was_closed_and_lacks_its_end_is_damage(tmp_path):
    run = create_run(tmp_path, "closed")
    writer = EventWriter(run.path, run.run_id, "w")
    for step in range(1, _STEPS + 1):
        writer.append("step", step=step)
    writer.close()
    tail = next(s for s in open_segments(run.path, "tail") if s.kind == "step")
    tail.path.write_bytes(tail.path.read_bytes()[:-100])
    assert not verify_run(run.path)["ok"]
    assert snapshots.snapshot(run.path, "step").damage
    assert seal_run(run.path, run.run_id).damage
