import contextlib
import itertools
import json
import shutil
import threading
from pathlib import Path

import pytest
from mirrored_runs import age, write_run
from thermograd.store.places.folder import Folder
from thermograd.store.places.known import known_runs
from thermograd.store.query.connection import connect, query
from thermograd.store.runs.at_places.compaction import compact
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.table import RunRow
from thermograd.store.runs.tags import change_tags

QUERIES = (
    "SELECT * FROM runs ORDER BY run_id",
    "SELECT * FROM steps ORDER BY run_id, writer, seq",
    "SELECT * FROM samples ORDER BY run_id, writer, seq",
    "SELECT * FROM marks ORDER BY run_id, writer, seq",
    "SELECT * FROM alerts ORDER BY run_id, writer, seq",
    "SELECT * FROM aligned ORDER BY run_id, writer, seq, device",
    "SELECT count(*), avg(loss) FROM steps WHERE run_id = 'run-3'",
    "SELECT run_id, count(*) FROM steps GROUP BY ALL ORDER BY ALL",
    "SELECT * FROM config ORDER BY ALL",
)


def answers(runs: Path) -> list[str]:
    """Return everything that is told of the runs of a folder."""
    rows = [RunRow(run).to_json() for run in list_runs(runs)]
    with contextlib.closing(connect(runs)) as connection:
        told = [str(connection.sql(sql).fetchall()) for sql in QUERIES]
    assert told[0] != "[]"
    return [json.dumps(rows, default=str), *told]


def answers_without(runs: Path) -> list[str]:
    """Return the same with no catalogue to go by."""
    catalogue = runs / "_catalogue"
    catalogue.rename(runs / "_away")
    try:
        return answers(runs)
    finally:
        (runs / "_away").rename(catalogue)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number in range(5):
        write_run(tmp_path / "runs", f"run-{number}", 4 + number)
    return tmp_path / "runs"


def test_answers_are_the_same_with_a_catalogue_and_without(runs: Path):
    before = answers(runs)
    done = compact(runs, least_runs=1)
    assert (done.runs, done.folded) == (5, 5)
    assert len(known_runs(runs)) == 5
    assert answers(runs) == before


def change_a_tag(runs: Path) -> None:
    change_tags(runs / "run-1", ["new"])


def delete_a_run(runs: Path) -> None:
    shutil.rmtree(runs / "run-3")


def add_a_run(runs: Path) -> None:
    write_run(runs, "run-new", 3)


def add_events(runs: Path) -> None:
    write_run(runs, "other", 2)
    for path in (runs / "other" / "sealed" / "step").iterdir():
        shutil.copy(path, runs / "run-2" / "sealed" / "step" / path.name)
    shutil.rmtree(runs / "other")


def break_the_catalogue(runs: Path) -> None:
    (path,) = (runs / "_catalogue").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    "change",
    [change_a_tag, delete_a_run, add_a_run, add_events, break_the_catalogue],
)
def test_a_run_that_changed_since_is_told_as_it_is(runs: Path, change):
    compact(runs, least_runs=1)
    change(runs)
    assert answers(runs) == answers_without(runs)
    for path in runs.glob("[!_]*"):
        age(path)
    compact(runs, least_runs=1)
    assert answers(runs) == answers_without(runs)


def test_folded_events_that_are_damaged_are_read_from_the_runs(runs: Path):
    sql = "SELECT run_id, count(*), avg(loss) FROM steps GROUP BY ALL ORDER BY ALL"
    expected = query(sql, runs)
    compact(runs, least_runs=1)
    (path,) = (runs / "_catalogue" / "events" / "step").glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    path.write_bytes(data)
    assert query(sql, runs) == expected


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", [0, 3, 5, 6, 7])
def test_a_compaction_that_is_killed_anywhere_leaves_nothing_double(runs: Path, monkeypatch, at: int):
    compact(runs, least_runs=1)
    write_run(runs, "run-new", 3)
    expected = answers_without(runs)
    calls = itertools.count()

    def dying(do):
        def dies(self, *args, **options):
            if next(calls) >= at:
                raise Killed
            return do(self, *args, **options)

        return dies

    for name in ("put", "delete"):
        monkeypatch.setattr(Folder, name, dying(getattr(Folder, name)))
    with contextlib.suppress(Killed):
        compact(runs, least_runs=1)
    monkeypatch.undo()
    assert answers(runs) == expected
    compact(runs, least_runs=1)
    assert answers(runs) == expected


def test_of_several_compactions_at_once_none_loses_anything(runs: Path):
    expected, failed = answers(runs), []

    def fold() -> None:
        try:
            compact(runs, least_runs=1)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=fold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert answers(runs) == expected
    assert len(known_runs(runs)) == 5


def test_few_runs_are_not_folded_but_told(runs: Path):
    done = compact(runs, least_runs=6)
    assert (done.runs, done.folded) == (5, 0)
    assert "5 runs in catalogue 1, the events of 0" in done.sentence()
    assert "of 5 not: fewer than 6" in done.sentence()


@pytest.mark.parametrize("least_runs", [1, 6])
def test_where_nothing_has_changed_the_catalogue_stays(runs: Path, least_runs: int):
    assert compact(runs, least_runs).is_new
    again = compact(runs, least_runs)
    assert (again.number, again.is_new) == (1, False)
    assert "catalogue 1, as before" in again.sentence()
    change_tags(runs / "run-1", ["new"])
    for path in runs.glob("[!_]*"):
        age(path)
    assert compact(runs, least_runs).number == 2


def test_a_live_run_is_in_no_catalogue(runs: Path):
    for path in (runs / "run-0" / "writers").glob("*.json"):
        facts = json.loads(path.read_text())
        facts.pop("closed_time_ns")
        path.write_text(json.dumps(facts))
    assert list_runs(runs)
    assert compact(runs, least_runs=1).runs == 4
    assert [run.state() for run in list_runs(runs)] == ["live", *["finished"] * 4]
    assert "run-0" not in known_runs(runs)
