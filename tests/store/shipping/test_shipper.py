"""Every event of a run is at the place once, whatever fails on the way and whoever begins anew."""

import errno
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from faulty_place import FaultyPlace
from hypothesis import given, settings, strategies as st
from shipped_runs import assert_there, log_steps, new_run
from thermograd.store.errors import PlaceError
from thermograd.store.files import sealed_segments
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.places.place import place_of
from thermograd.store.shipping.facts import events_of
from thermograd.store.shipping.rounds import ship_to_the_end
from thermograd.store.shipping.shipper import Shipper


def quiet(text):
    """Take what is said."""


def shipper_of(run, place, alarm=quiet):
    return Shipper(run.path, place, place.url, alarm)


def finish(run, place):
    progress = ship_to_the_end(run.path, place.url, quiet, 0.0, place)
    assert progress is not None
    return progress


def names(place, run, kind="step"):
    return [entry.name.rpartition("/")[2] for entry in place.list(f"{run.run_id}/sealed/{kind}")]


def test_the_row_of_a_young_run_is_written_often_and_at_each_alert(tmp_path, monkeypatch):
    run, writer = new_run(tmp_path / "runs")
    place, now_s = place_of(tmp_path / "place"), 1000.0
    clock = SimpleNamespace(monotonic=lambda: now_s, time_ns=time.time_ns)
    monkeypatch.setattr("thermograd.store.shipping.shipper.time", clock)
    shipper, told_s = shipper_of(run, place), []
    monkeypatch.setattr(shipper._small, "enter", lambda *_: told_s.append(now_s - 1000.0))
    for now_s in (1000.0 + after_s for after_s in range(150)):
        if now_s == 1030.0:
            writer.append("alert", alert="x", severity="warning", message="x")
        shipper.ship(run.path, is_last=False)
    assert told_s == [0.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0]
    writer.close()


def test_a_live_run_is_there_up_to_its_last_event_and_the_writer_is_not_disturbed(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    place = place_of(tmp_path / "place")
    shipper = shipper_of(run, place)
    for first, count in ((1, 3), (4, 30), (34, 1)):
        log_steps(writer, first, count)
        shipper.ship(run.path)
        assert not sealed_segments(run.path)
        there = read_kind(tmp_path / "place" / run.run_id, "step")
        assert there["seq"].to_pylist() == list(range(first + count - 1))
    assert [name.split("-")[-2:] for name in names(place, run)] == [
        ["000000000000", "000000000002.parquet"],
        ["000000000003", "000000000032.parquet"],
        ["000000000033", "000000000033.parquet"],
    ]
    writer.close()


def test_the_logs_own_sealed_file_takes_the_place_of_the_parts_and_all_is_byte_for_byte_the_same(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    place = place_of(tmp_path / "place")
    shipper = shipper_of(run, place)
    for first in range(1, 60, 10):
        log_steps(writer, first, 10)
        shipper.ship(run.path)
    assert len(names(place, run)) == 6
    writer.close()
    assert finish(run, place).is_complete
    assert len(names(place, run)) == 1
    assert_there(run, place, tmp_path / "mirror")


def test_nothing_is_shipped_twice_and_a_second_time_there_is_nothing_to_ship(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 20)
    writer.close()
    place = FaultyPlace(place_of(tmp_path / "place"))
    first = finish(run, place)
    written = [name for what, name in place.requests if what == "put" and "/sealed/" in name]
    assert len(written) == len(set(written)) == first.files == 2
    place.requests.clear()
    again = finish(run, place)
    assert (again.files, again.is_complete) == (2, True)
    assert not [name for what, name in place.requests if what == "put" and "/sealed/" in name]


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.lists(st.sampled_from(["ok", "ok", "before", "after"]), max_size=9),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_whatever_fails_and_whoever_begins_anew_every_event_is_there_once(
    tmp_path_factory, rounds, is_killed
):
    """A request fails before or after it was done; a shipper is replaced by one that knows nothing."""
    with pytest.MonkeyPatch.context() as patch:  # hundreds of syncs of a busy disk prove nothing here
        patch.setattr(os, "fsync", lambda handle: None)
        base = tmp_path_factory.mktemp("ship")
        run, writer = new_run(base / "runs")
        place = FaultyPlace(place_of(base / "place"))
        shipper, step = shipper_of(run, place), 1
        for count, schedule, is_new in rounds:
            log_steps(writer, step, count)
            step += count
            shipper = shipper_of(run, place) if is_new else shipper
            place.schedule = iter(schedule)
            try:
                shipper.ship(run.path)
            except PlaceError:
                assert "before" in schedule or "after" in schedule
        place.schedule = iter(())
        writer.close()
        if is_killed:
            (run.path / "shipping.json").unlink(missing_ok=True)
        assert finish(run, place).is_complete
        assert_there(run, place, base / "mirror")


def objects(folder):
    return len([*folder.rglob("*.parquet")])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_a_shipper_that_is_killed_at_any_moment_leaves_what_the_next_one_completes(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    for rank in range(1, 7):
        other = EventWriter(run.path, run.run_id, f"host-r{rank}-1-aaaaaa", batch_rows=4)
        log_steps(other, 1, 20)
        other.close()
    warm, its_writer = new_run(tmp_path / "warm")
    its_writer.close()
    ship_to_the_end(warm.path, str(tmp_path / "warm-place"), quiet, 0.0)  # all is imported before the forks
    url = f"file://{tmp_path}/place"
    chance = random.Random(15)
    for turn in range(20):
        log_steps(writer, 1 + 3 * turn, 3)
        awaited = objects(tmp_path / "place") + chance.randrange(3)
        child = os.fork()
        if not child:
            try:
                ship_to_the_end(run.path, url, quiet, 0.0)
            finally:
                os._exit(0)
        has_ended, until_s = False, time.monotonic() + 20
        while objects(tmp_path / "place") < awaited and not has_ended and time.monotonic() < until_s:
            has_ended = os.waitpid(child, os.WNOHANG)[0] == child
        if not has_ended:
            time.sleep(chance.uniform(0.0, 0.01))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    writer.close()
    place = place_of(url)
    progress = ship_to_the_end(run.path, url, quiet, 0.0)
    assert progress is not None
    assert progress.is_complete
    assert_there(run, place, tmp_path / "mirror")


def test_other_events_under_the_name_of_ours_are_an_alarm_and_stay(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 5)
    writer.close()
    other, its_writer = new_run(tmp_path / "others")
    log_steps(its_writer, 100, 5)
    its_writer.close()
    for one in (run, other):
        seal_run(one.path, one.run_id)
    place, said = place_of(tmp_path / "place"), []
    (theirs,) = sealed_segments(other.path, "step")
    name = f"{run.run_id}/sealed/step/{theirs.path.name}"
    place.put(name, theirs.path.read_bytes())
    progress = ship_to_the_end(run.path, place.url, said.append, 0.0, place)
    assert progress is not None
    assert not progress.is_complete
    assert progress.conflicts == [f"sealed/step/{theirs.path.name}"]
    assert any("holds other events than ours" in text for text in said)
    assert place.get(name) == theirs.path.read_bytes()
    assert read_kind(run.path, "step")["step"].to_pylist() == [1, 2, 3, 4, 5]


def test_the_same_events_written_by_another_parquet_writer_are_no_alarm(tmp_path):
    import pyarrow.parquet as pq

    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 12)
    writer.close()
    seal_run(run.path, run.run_id)
    place = place_of(tmp_path / "place")
    (ours,) = sealed_segments(run.path, "step")
    path = tmp_path / "place" / run.run_id / "sealed" / "step" / ours.path.name
    path.parent.mkdir(parents=True)
    pq.write_table(pq.read_table(ours.path), path, compression="snappy", write_page_checksum=True)
    progress = ship_to_the_end(run.path, place.url, quiet, 0.0, place)
    assert progress is not None
    assert not progress.conflicts


def test_a_damaged_sealed_file_is_told_and_what_can_be_read_of_it_is_shipped(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 40)
    writer.close()
    seal_run(run.path, run.run_id)
    (segment,) = sealed_segments(run.path, "step")
    data = bytearray(segment.path.read_bytes())
    data[200] ^= 0xFF  # in a page of values
    segment.path.write_bytes(data)
    said = []
    place = place_of(tmp_path / "place")
    progress = ship_to_the_end(run.path, place.url, said.append, 0.0, place)
    assert progress is not None
    assert progress.damaged == [f"sealed/step/{segment.path.name}"]
    assert len([text for text in said if "is damaged" in text]) == 1
    assert not names(place, run)
    assert len(names(place, run, "mark")) == 1


def test_where_nothing_may_be_deleted_the_parts_stay_and_every_event_is_still_read_once(tmp_path):
    class WriteOnly(FaultyPlace):
        def delete(self, name):
            raise PlaceError("access denied")

    run, writer = new_run(tmp_path / "runs")
    place = WriteOnly(place_of(tmp_path / "place"))
    shipper = shipper_of(run, place)
    for first in (1, 11, 21):
        log_steps(writer, first, 10)
        shipper.ship(run.path)
    writer.close()
    assert finish(run, place).is_complete
    assert len(names(place, run)) == 4
    assert read_kind(tmp_path / "place" / run.run_id, "step")["step"].to_pylist() == list(range(1, 31))


def test_the_manifest_the_facts_and_the_catalogue_say_what_is_there(tmp_path):
    import hashlib

    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 9)
    place = place_of(tmp_path / "place")
    shipper_of(run, place).ship(run.path)
    entry = json.loads(place.get(f"_catalogue/entries/{run.run_id}.json"))
    assert (entry["run_id"], entry["state"]) == (run.run_id, "live")
    writer.close({"state": "finished"})
    finish(run, place)
    entry = json.loads(place.get(f"_catalogue/entries/{run.run_id}.json"))
    assert (entry["state"], entry["steps"]) == ("finished", 9)
    told = json.loads(place.get(f"{run.run_id}/shipped/host-r0-1-aaaaaa.json"))
    assert told["ended"]
    for file in told["files"]:
        content = place.get(f"{run.run_id}/{file['name']}")
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    step_file = next(file for file in told["files"] if "/step/" in file["name"])
    times = read_kind(run.path, "step")["time_ns"].to_pylist()
    assert (step_file["rows"], step_file["last_time_ns"]) == (9, max(times))
    assert told["shipped_until_ns"] >= max(times)
    assert json.loads(place.get(f"{run.run_id}/run.json"))["run_id"] == run.run_id


def test_a_live_run_is_told_before_its_events_and_a_part_is_told_no_more_before_it_goes(tmp_path):
    """Who reads at any moment finds what the manifests name; and a live writer is never without one."""
    run, writer = new_run(tmp_path / "runs")

    class Watched(FaultyPlace):
        def put(self, name, data, create_only=False):
            answer = super().put(name, data, create_only)
            check(self.inner)
            return answer

        def delete(self, name):
            super().delete(name)
            check(self.inner)

    def check(place):
        there = {entry.name for entry in place.list(run.run_id)}
        told = {name for name in there if "/shipped/" in name}
        for name in told:
            files = json.loads(place.get(name))["files"]
            assert {f"{run.run_id}/{file['name']}" for file in files} <= there
        writers = {name.rpartition("/")[2] for name in there if "/writers/" in name}
        assert writers <= {name.rpartition("/")[2] for name in told}

    place = Watched(place_of(tmp_path / "place"))
    shipper = shipper_of(run, place)
    for first in (1, 11, 21):
        log_steps(writer, first, 10)
        shipper.ship(run.path)
        shipper = shipper_of(run, place) if first == 11 else shipper
    writer.close()
    assert finish(run, place).is_complete
    assert [what for what, _ in place.requests].count("delete") > 1


def test_the_nodes_of_a_job_put_their_devices_into_one_run_json_and_rank_0_describes_it(tmp_path):
    place = place_of(tmp_path / "place")
    runs = []
    for node, rank in (("b", 8), ("a", 0)):
        run, writer = new_run(tmp_path / node, f"{node}-r{rank}-1-aaaaaa")
        log_steps(writer, 1, 10)
        facts = json.loads((run.path / "run.json").read_text())
        job = {"rank": rank, "world_size": 16}
        facts |= {"run_id": "job", "job": job, "name": f"of {node}", "devices": {f"GPU-{node}": {}}}
        path = run.path.rename(run.path.with_name("job"))
        (path / "run.json").write_text(json.dumps(facts))
        writer.close()
        runs.append(path)
    for path in (*runs, runs[0]):
        ship_to_the_end(path, place.url, quiet, 0.0, place)
    told = json.loads(place.get("job/run.json"))
    assert (told["name"], sorted(told["devices"])) == ("of a", ["GPU-a", "GPU-b"])
    row = json.loads(place.get("_catalogue/entries/job.json"))
    assert (row["name"], row["steps"], row["ranks"], row["devices"]) == ("of a", 10, 2, ["GPU-a", "GPU-b"])
    assert row["events"]["step"] == 20
    assert len([*place.list("job/writers")]) == 2


def test_events_that_two_files_of_a_manifest_hold_count_once():
    spans = [(0, 9), (10, 19), (0, 19), (25, 29)]
    files = [{"name": f"sealed/step/w-{a:012}-{b:012}.parquet"} for a, b in spans]
    assert events_of([*files, {"name": "sealed/mark/no-such-name"}]) == {"step": 25}


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
def test_a_run_that_we_may_only_read_is_shipped_all_the_same(tmp_path):
    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 30)
    writer.close()
    paths = [run.path, *(path for path in run.path.rglob("*") if path.is_dir())]
    for path in paths:
        path.chmod(0o555)
    try:
        progress = ship_to_the_end(run.path, str(tmp_path / "place"), quiet, 0.0)
    finally:
        for path in filter(Path.exists, paths):
            path.chmod(0o755)
    assert progress is not None
    assert progress.is_complete
    assert read_kind(tmp_path / "place" / run.run_id, "step")["step"].to_pylist() == list(range(1, 31))


def test_a_full_disk_here_keeps_nothing_from_being_shipped(tmp_path, monkeypatch):
    """Nothing can be sealed or written down; what the live files hold goes as parts."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    run, writer = new_run(tmp_path / "runs")
    log_steps(writer, 1, 30)
    writer.close()
    place = place_of(tmp_path / "place")
    monkeypatch.setattr("thermograd.store.log.seal.write_parquet", full)
    monkeypatch.setattr("thermograd.store.shipping.progress.write_json", full)
    assert finish(run, place).is_complete
    monkeypatch.undo()
    assert not sealed_segments(run.path)
    assert read_kind(tmp_path / "place" / run.run_id, "step")["step"].to_pylist() == list(range(1, 31))
    assert finish(run, place).is_complete
    assert_there(run, place, tmp_path / "mirror")
