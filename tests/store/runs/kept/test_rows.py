"""Rows of runs that have ended are kept from one command to the next, and are those that looking gives."""

import json
import subprocess
import sys

import pytest
from thermograd.store.files import read_json, write_json
from thermograd.store.log import place
from thermograd.store.log.place import WRITER_LOCK
from thermograd.store.log.reading import kept as kept_module
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs import catalogue
from thermograd.store.runs.catalogue import Run, create_run, find_run, list_runs
from thermograd.store.runs.kept import settled
from thermograd.store.runs.kept.rows import rows_of
from thermograd.store.runs.table import RunRow
from thermograd.store.runs.tags import change_tags

SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Take files of now as old enough: what changes them in a test changes their size or inode, too."""
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_module, "_FRESH_NS", -SECOND_NS)


def append(run, writer, losses, close=True):
    log = EventWriter(run.path, run.run_id, writer)
    for step, loss in enumerate(losses, 1):
        log.append("step", step * SECOND_NS, 0, step=step, rank=0, loss=loss)
    if close:
        log.close()
    return log


@pytest.fixture
def runs(tmp_path):
    """Return a folder of four runs: one that ended, an imported one, one that crashed, one without a log."""
    folder = tmp_path / "runs"
    for name, source in (("ended", "recorded"), ("imported", "imported"), ("crashed", "recorded")):
        run = create_run(folder, name, {"source": source, "started_time_ns": 20 - len(name)}, run_id=name)
        append(run, f"w-r0-{name}", [3.0, 2.5])
        seal_run(run.path, run.run_id)
    unclosed = folder / "crashed" / "writers" / "w-r0-crashed.json"
    facts = read_json(unclosed)
    write_json(unclosed, {name: value for name, value in facts.items() if not name.startswith("closed")})
    lock = folder / "crashed" / "open" / "w-r0-crashed" / f"{WRITER_LOCK}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()  # that nobody holds
    create_run(folder, "empty", run_id="empty")
    return folder


def fresh(runs):
    return [RunRow(Run(run.path)).to_json() for run in list_runs(runs)]


def looked_at(monkeypatch):
    """Return a list of the runs whose row is gathered from their files from now on."""
    seen = []
    gather = RunRow.to_json
    monkeypatch.setattr(RunRow, "to_json", lambda row: seen.append(row.run.run_id) or gather(row))
    return seen


def test_the_second_time_no_run_that_has_ended_is_looked_at(runs, monkeypatch):
    first = rows_of(list_runs(runs))
    assert first == fresh(runs)
    assert {row["state"] for row in first} == {"finished", "imported", "crashed"}
    seen = looked_at(monkeypatch)

    assert rows_of(list_runs(runs)) == first
    assert seen == []


def tagged(run):
    change_tags(run, ["good"], note="hot")


def renamed(run):
    write_json(run / "run.json", read_json(run / "run.json") | {"name": "another"})


def judged(run):
    write_json(run / "report" / "verdict.json", {"verdict": "coupled", "steps": 2})


def continued(run):
    append(Run(run), "w-r0-again", [1.0, 0.5, 0.25])
    seal_run(run, run.name)


def told_to_have_failed(run):
    (path,) = (run / "writers").iterdir()
    ended = {"state": "failed", "exception": "ValueError", "message": "boom"}
    write_json(path, read_json(path) | {"closed_time_ns": 9 * SECOND_NS, "ended": ended})


def without_events(run):
    for path in (run / "sealed" / "step").iterdir():
        path.unlink()


CHANGES = [tagged, renamed, judged, continued, told_to_have_failed, without_events]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["ended", "crashed"])
def test_a_run_that_changed_is_looked_at_again(runs, name, change, monkeypatch):
    before = rows_of(list_runs(runs))
    change(runs / name)
    expected = fresh(runs)
    seen = looked_at(monkeypatch)

    after = rows_of(list_runs(runs))

    assert after == expected
    assert after != before
    assert seen == [name]


def test_a_run_that_lives_is_looked_at_each_time_and_kept_once_it_has_ended(runs, monkeypatch):
    run = create_run(runs, "live", run_id="live")
    log = append(run, "w-r0-live", [4.0], close=False)
    rows_of(list_runs(runs))
    seen = looked_at(monkeypatch)

    assert [row["state"] for row in rows_of(list_runs(runs)) if row["run_id"] == "live"] == ["live"]
    log.close()
    seal_run(run.path, run.run_id)
    for _ in range(2):
        assert [row["state"] for row in rows_of(list_runs(runs)) if row["run_id"] == "live"] == ["finished"]
    assert seen == ["live", "live"]


def test_a_crashed_run_whose_process_turns_out_to_live_is_live(runs, monkeypatch):
    rows_of(list_runs(runs))
    for module in (settled, place):
        monkeypatch.setattr(module, "is_live", lambda _, writer: writer == "w-r0-crashed")

    states = {row["run_id"]: row["state"] for row in rows_of(list_runs(runs))}

    assert states["crashed"] == "live"
    assert states["ended"] == "finished"


def test_the_latest_run_is_found_without_reading_what_was_read_before(runs, monkeypatch):
    assert find_run(runs, "latest").run_id == "empty"
    order = [run.run_id for run in list_runs(runs)]
    read = []
    monkeypatch.setattr(catalogue, "read_json", lambda path: read.append(path) or read_json(path))

    assert [run.run_id for run in list_runs(runs)] == order
    assert find_run(runs, "latest").run_id == "empty"
    assert read == []

    write_json(runs / "ended" / "run.json", {"started_time_ns": 2**62})
    assert find_run(runs, "latest").run_id == "ended"
    assert read == [runs / "ended" / "run.json"]


HEAVY = {"pandas", "duckdb", "scipy", "matplotlib", "altair", "torch"}


def test_runs_loads_no_library_for_numbers_where_nothing_has_changed(runs):
    program = (
        "import sys\n"
        "from thermograd.cli import main\n"
        f"main(['--runs', {str(runs)!r}, 'runs', '--json'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    expected = json.loads(json.dumps(fresh(runs)))
    for expected_free in (HEAVY, HEAVY | {"pyarrow", "numpy"}):
        rows_of(list_runs(runs))  # this process keeps what is as new as this, too
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        shown, _, loaded = done.stdout.rstrip().rpartition("\n")
        assert json.loads(shown) == expected
        assert not expected_free & set(loaded.split())


def test_what_is_told_of_a_run_whose_process_dies_meanwhile_is_not_kept(runs, monkeypatch):
    living = {"w-r0-crashed"}
    for module in (settled, place):
        monkeypatch.setattr(module, "is_live", lambda _, writer: writer in living)
    run, answers = Run(runs / "crashed"), settled.SettledAnswers(runs, "states")

    def told():
        state = run.state()
        living.clear()
        return state

    assert [answers.answer(run, "crashed", told) for _ in range(2)] == ["live", "crashed"]
