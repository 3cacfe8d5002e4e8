"""A living writer keeps its files, whoever seals, from wherever, and whatever the clocks say."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from thermograd.store.log import writer as log_module
from thermograd.store.log.place import WriterPlace
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

SEAL = """
import sys, time
from pathlib import Path
{before}
from thermograd.store.log.seal import seal_run
from thermograd.store.runs.catalogue import Run
run = Run(Path({path!r}))
print(run.state(), sorted(run.live_writers()))
for _ in range(3):
    seal_run(run.path, run.run_id)
    seal_run(run.path, run.run_id, run.live_writers())
"""

tells_places = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the platform does not tell where a directory is"
)


def seal_from_outside(path, before="", command=()):
    """Seal in another process; return what it says of the run."""
    script = SEAL.format(path=str(path), before=before)
    result = subprocess.run(
        [*command, sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def assert_whole(path, count):
    for _ in range(2):
        assert read_kind(path, "step")["step"].to_pylist() == list(range(count))
        assert verify_run(path)["ok"]
        seal_run(path, "r")


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "x")


def test_a_clock_that_is_set_takes_no_file_from_a_living_writer(run):
    """The creation times of processes move with the clock as well."""
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    for part, shift_s in enumerate([-3600, 3, 3600]):
        for i in range(100):
            assert writer.append("step", step=100 * part + i) is not None
        set_clock = f"""
import psutil
now, created = time.time, psutil.Process.create_time
time.time = lambda: now() + {shift_s}
psutil.Process.create_time = lambda process: created(process) + {shift_s}
"""
        assert seal_from_outside(run.path, set_clock) == "live ['w']"
    assert writer.lost == 0
    writer.close()
    assert run.state() == "finished"
    assert_whole(run.path, 300)


def unshare():
    """Return the command for a process in a PID namespace of its own, None where that is not allowed."""
    for extra in ((), ("--user", "--map-root-user")):
        command = ("unshare", *extra, "--pid", "--fork", "--mount-proc")
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return None


@pytest.mark.skipif(unshare() is None, reason="no PID namespaces for us on this platform")
def test_a_writer_that_another_container_cannot_see_keeps_its_files(run):
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    for part in range(3):
        for i in range(100):
            assert writer.append("step", step=100 * part + i) is not None
        assert seal_from_outside(run.path, command=unshare()) == "live ['w']"
    writer.close()
    assert_whole(run.path, 300)


@pytest.mark.skipif(unshare() is None, reason="no PID namespaces for us on this platform")
def test_a_writer_in_another_container_is_live_until_it_is_killed(run):
    script = textwrap.dedent(
        f"""
        import os
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        writer = EventWriter(Path({str(run.path)!r}), "r", "w", batch_rows=8)
        for i in range(300):
            writer.append("step", step=i)
        os.write(1, b"x")
        os.read(0, 1)
        os.kill(os.getpid(), 9)
        """
    )
    with subprocess.Popen(
        [*unshare(), sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.read(1)
        assert run.state() == "live"
        assert seal_run(run.path, "r").events.get("step", 0) <= 300
        assert read_kind(run.path, "step")["step"].to_pylist() == list(range(300))
        process.communicate(b"x")
    assert run.state() == "crashed"
    assert_whole(run.path, 300)
    assert not (run.path / "open" / "w").exists()


# -- files that are taken away ---------------------------------------------------------------------------


@pytest.fixture
def busy_thread(monkeypatch):
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 0.01)


def append(writer, first, count):
    for i in range(first, first + count):
        assert writer.append("step", step=i) is not None


def renamed(run, name, in_place):
    """Give a run's directory another name, put something in its place, and return where it is now."""
    path = run.path.rename(run.path.with_name(name))
    if in_place == "file":
        run.path.write_text("a file")
    elif in_place == "directory":
        run.path.mkdir()
    return path


@pytest.fixture
def unwatched(monkeypatch):
    """A lock; while a test has it, no log's own thread looks where its files are, or makes any."""
    lock, tidy = threading.Lock(), EventWriter._tidy

    def tidy_when_allowed(writer):
        with lock:
            tidy(writer)

    monkeypatch.setattr(EventWriter, "_tidy", tidy_when_allowed)
    return lock


@pytest.mark.usefixtures("busy_thread")
@tells_places
@pytest.mark.parametrize("in_place", ["nothing", "file", "directory"])
def test_a_renamed_run_is_followed_whatever_stands_in_its_place(run, in_place, caplog):
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    append(writer, 0, 300)
    moved = renamed(run, "moved", in_place)
    append(writer, 300, 300)
    wait_for(lambda: writer.run_dir == moved)
    append(writer, 600, 300)
    assert Run(moved).state() == "live"
    writer.close()
    assert writer.lost == 0
    assert Run(moved).state() == "finished"
    assert_whole(moved, 900)
    assert list(run.path.parent.glob("*/open")) in ([moved / "open"], [])
    assert sum("is now" in record.message for record in caplog.records) == 1


@tells_places
@pytest.mark.parametrize("in_place", ["nothing", "file", "directory"])
def test_an_event_that_needs_a_new_file_just_after_the_run_was_renamed_is_not_lost(run, unwatched, in_place):
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    append(writer, 0, 3)
    with unwatched:  # the log's own thread has not seen it yet
        moved = renamed(run, "moved", in_place)
        stream = writer._streams["step"]
        stream._tail.end()
        stream._spare = None
        append(writer, 3, 3)
    append(writer, 6, 30)
    writer.close()
    assert writer.lost == 0
    assert_whole(moved, 36)


@pytest.mark.usefixtures("busy_thread")
@pytest.mark.parametrize("in_place", ["nothing", "file", "directory"])
def test_a_deleted_run_is_made_anew_and_loses_nothing_that_was_not_deleted(run, in_place, unwatched, caplog):
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=1000)
    started_time_ns = run.started_time_ns
    append(writer, 0, 300)
    with unwatched:  # else the writer may follow it to where it is deleted, and make it anew there
        trash = renamed(run, "trash", in_place)
        shutil.rmtree(trash)
    append(writer, 300, 300)
    wait_for(lambda: (writer.run_dir / "open" / "w").is_dir())
    append(writer, 600, 300)
    writer.close()
    assert writer.lost == 0
    again = writer.run_dir
    assert again == (run.path.with_name(f"{run.path.name}-again") if in_place == "file" else run.path)
    assert Run(again).started_time_ns == started_time_ns
    assert Run(again).state() == "finished"
    assert_whole(again, 900)
    said = [record.message for record in caplog.records if "taken away" in record.message]
    assert 1 <= len(said) <= 3, said


@pytest.mark.usefixtures("busy_thread")
@pytest.mark.parametrize("what", ["tails", "open directory", "lock", "everything live"])
def test_files_that_are_deleted_under_a_writer_are_made_anew(run, unwatched, what):
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=1000)
    append(writer, 0, 300)
    home = run.path / "open" / "w"
    with unwatched:  # else it may make some anew in a directory that is being deleted
        if what == "tails":
            for path in home.glob("*.tail"):
                path.unlink()
        elif what == "lock":
            (home / "writer.lock").unlink()
        elif what == "everything live":
            shutil.rmtree(run.path / "open")
        else:
            shutil.rmtree(home)
    append(writer, 300, 300)
    wait_for(lambda: list(home.glob("step-*.tail")) and (home / "writer.lock").exists())
    append(writer, 600, 300)
    assert run.live_writers() == {"w"}
    writer.close()
    assert writer.lost == 0
    assert_whole(run.path, 900)


def test_a_change_of_directory_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run = create_run(Path("runs"), "x")
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=8)
    append(writer, 0, 100)
    monkeypatch.chdir("elsewhere")
    append(writer, 100, 1000)
    writer.close()
    assert writer.lost == 0
    assert_whole(tmp_path / run.path, 1100)
    assert not os.listdir(tmp_path / "elsewhere")


@tells_places
def test_a_run_that_is_renamed_while_its_place_is_looked_at_is_not_made_anew(run, monkeypatch):
    place = WriterPlace(run.path, "v", {"pid": os.getpid()})
    moved = run.path.with_name("moved")

    def rename_and_miss(_):
        monkeypatch.undo()
        run.path.rename(moved)
        return False

    monkeypatch.setattr(type(place._lock), "is_there", rename_and_miss)
    assert f"is now {moved}" in place.settle()
    assert not run.path.exists()
