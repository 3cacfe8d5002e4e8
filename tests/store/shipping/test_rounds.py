"""Shipping goes on through what fails: it waits, says so once, and gives up only when it was told to."""

import json
import threading
import time

import pytest
from faulty_place import FaultyPlace
from shipped_runs import assert_there, log_steps, new_run
from thermograd.store.errors import PlaceError, RefusedError
from thermograd.store.locks import ProcessLock
from thermograd.store.places.place import place_of
from thermograd.store.runs.catalogue import Run
from thermograd.store.shipping.pace import Pauses, period_s, seconds_of
from thermograd.store.shipping.progress import STATE, Progress, progress_of, shipping_line
from thermograd.store.shipping.rounds import Attempts, rest_of, ship_live, ship_to_the_end, tend
from thermograd.store.shipping.spool import spool_for

_NS = 1_000_000_000


@pytest.fixture
def no_pauses(monkeypatch):
    """Let no attempt wait for the next."""
    monkeypatch.setattr(Pauses, "after", lambda self, went_well, took_s: 0.0)


def test_pauses_grow_while_attempts_fail_and_are_the_period_again_after_one_that_went_well():
    pauses = Pauses(8.0)
    assert pauses.after(True, 1.5) == 6.5
    failing = [pauses.after(False, 1.0) for _ in range(12)]
    assert all(0.7 * 2**n <= pause <= 2**n for n, pause in enumerate(failing[:5]))
    assert max(failing) <= 30.0
    assert pauses.after(True, 100.0) > 0


def test_a_setting_that_is_no_number_of_seconds_is_the_default(monkeypatch):
    for text, is_taken in (
        ("5", True),
        ("0.1", False),
        ("x", False),
        ("nan", False),
        ("inf", False),
        ("", False),
    ):
        monkeypatch.setenv("THERMOGRAD_SHIP_EVERY_S", text)
        assert period_s() == (4.0 if is_taken else 8.0)
    assert seconds_of("THERMOGRAD_NOT_SET", 3.0) == 3.0


def test_a_lost_network_is_said_once_counted_and_said_once_when_it_is_over(tmp_path, no_pauses):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 30)
    writer.close()
    place, said = FaultyPlace(place_of(tmp_path / "place"), ["before"] * 6), []
    progress = ship_to_the_end(run.path, place.url, said.append, 60.0, place)
    assert progress is not None
    assert (progress.is_complete, progress.failures, progress.error) == (True, 6, None)
    assert ["cannot ship" in text or "ships to" in text for text in said] == [True, True]
    assert_there(run, place, tmp_path / "mirror")


def test_what_is_left_after_the_patience_stays_and_is_told(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    writer.close()

    class Gone(FaultyPlace):
        def put(self, name, data, create_only=False):
            raise PlaceError("403 for s3://me:s3cr3tS3cr3t/x@b?sig=s3cr3tS3cr3t")

    place = Gone(place_of(tmp_path / "place"))
    progress = ship_to_the_end(run.path, place.url, lambda _: None, 0.0, place)
    assert progress is not None
    assert not progress.is_complete
    told = (run.path / STATE).read_text()
    assert "s3cr3t" not in told
    assert json.loads(told)["failures"] == 1
    line = shipping_line(run.path)
    assert line is not None
    assert line.startswith("nothing is at ")
    assert "1 failure" in line


def test_a_panic_of_the_stores_client_ends_no_thread(tmp_path):
    class Panic(BaseException):
        pass

    class Broken(FaultyPlace):
        def list(self, prefix="", after=""):
            raise Panic("called `Option::unwrap()` on a `None` value")

    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    said = []
    attempts = Attempts("s3://b/x", said.append, Broken(place_of(tmp_path / "place")))
    assert [attempts.attempt(run.path) for _ in range(2)] == [False, False]
    assert len(said) == 1
    writer.close()


def test_ctrl_c_ends_a_shipping_that_somebody_asked_for(tmp_path):
    class Interrupted(FaultyPlace):
        def list(self, prefix="", after=""):
            raise KeyboardInterrupt

    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    writer.close()
    place = Interrupted(place_of(tmp_path / "place"))
    with pytest.raises(KeyboardInterrupt):
        ship_to_the_end(run.path, place.url, lambda _: None, 60.0, place)
    assert ProcessLock(run.path, "ship").acquire()


def test_a_live_run_is_shipped_until_it_is_told_to_stop_wherever_its_directory_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_SHIP_EVERY_S", "1")
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    where, stop, place = [run.path], threading.Event(), tmp_path / "place"
    thread = threading.Thread(
        target=ship_live, args=(lambda: where[0], f"file://{place}", stop, lambda _: None)
    )
    thread.start()
    try:
        _wait_for(lambda: len([*place.rglob("*.parquet")]) == 2)
        assert not ProcessLock(run.path, "ship").acquire()
    finally:
        stop.set()
        thread.join()
    assert ProcessLock(run.path, "ship").acquire()
    writer.close()


def test_only_one_process_ships_a_run(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    writer.close()
    lock = ProcessLock(run.path, "ship")
    assert lock.acquire()
    assert ship_to_the_end(run.path, str(tmp_path / "place"), lambda _: None, 0.0) is None
    lock.release()
    assert ship_to_the_end(run.path, str(tmp_path / "place"), lambda _: None, 0.0) is not None


def test_what_earlier_jobs_left_is_shipped_by_the_next_and_not_what_lives(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("THERMOGRAD_KEEP_LOCAL_DAYS", "0")
    url = f"file://{tmp_path}/place"
    folder = spool_for(url)
    left, writer = new_run(folder)
    log_steps(writer, 1, 9)
    writer.close()
    live, its_writer = new_run(folder)
    assert [run.run_id for run in rest_of(folder)] == [left.run_id]
    tend(folder, url, None, threading.Event(), lambda _: None)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [live.run_id]
    assert (tmp_path / "place" / left.run_id / "run.json").is_file()
    assert not (tmp_path / "place" / live.run_id).exists()
    its_writer.close()


def test_the_line_of_show_says_how_many_segments_wait_and_how_far_it_is_behind(tmp_path):
    assert shipping_line(tmp_path) is None
    Progress("s3://b/runs", shipped_until_ns=100 * _NS, waiting=3).save(tmp_path)
    assert (
        shipping_line(tmp_path, 140 * _NS) == "all but the last 40 s is at s3://b/runs, 3 segments on the way"
    )
    Progress("s3://b/runs", is_complete=True).save(tmp_path)
    assert shipping_line(tmp_path) == "all of it is at s3://b/runs"
    assert progress_of(tmp_path, "s3://another/place") == Progress("s3://another/place")
    (tmp_path / STATE).write_text('{"url": "s3://b", "shipped_until_ns": "x", "waiting": [], "conflicts": 3}')
    assert shipping_line(tmp_path) is None


def _wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_that_has_no_writer_yet_is_not_taken_for_one_that_is_over_for_good(tmp_path):
    """An agent of the same folder may come between `run.json` and the first writer."""
    run, writer = new_run(tmp_path / "runs")
    writer.close()
    ship_to_the_end(run.path, str(tmp_path / "place"), lambda _: None, 0.0)
    _, late = new_run(tmp_path / "other")
    late.close()
    assert progress_of(run.path).is_complete
    from thermograd.store.log.writer import EventWriter

    second = EventWriter(run.path, run.run_id, "host-r1-2-bbbbbb")
    log_steps(second, 1, 3)
    attempts = Attempts(str(tmp_path / "place"), lambda _: None)
    assert attempts.attempt(run.path)
    assert not progress_of(run.path).is_complete
    second.close()
    assert Run(run.path).state() != "live"


def test_what_an_agent_ships_beside_its_own_end_is_not_the_end_of_the_run(tmp_path):
    """Its log is closed before it is sealed: the sealed files are still to come."""
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 9)
    writer.close()
    attempts = Attempts(str(tmp_path / "place"), lambda _: None)
    assert attempts.attempt(run.path, is_last=False)
    assert not progress_of(run.path).is_complete
    ship_to_the_end(run.path, str(tmp_path / "place"), lambda _: None, 0.0)
    assert progress_of(run.path).is_complete
    assert_there(run, place_of(tmp_path / "place"), tmp_path / "mirror")


def test_a_training_s_run_is_tried_again_where_it_is_refused_and_a_person_is_told_at_once(
    tmp_path, no_pauses
):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    writer.close()
    left = [3]

    class Denied(FaultyPlace):
        def put(self, name, data, create_only=False):
            left[0] -= 1
            if left[0] >= 0:
                raise RefusedError("access denied")
            return super().put(name, data, create_only)

    place = Denied(place_of(tmp_path / "place"), [])
    with pytest.raises(RefusedError):
        ship_to_the_end(run.path, place.url, print, 60.0, place, is_asked=True)
    assert progress_of(run.path).error == "access denied"
    progress = ship_to_the_end(run.path, place.url, lambda _: None, 60.0, place)
    assert progress is not None
    assert progress.is_complete
    assert_there(run, place, tmp_path / "mirror")
