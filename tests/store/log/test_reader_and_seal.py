import errno
import itertools
import multiprocessing
import os
import random
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from thermograd.store.errors import LogError
from thermograd.store.events import arrow_schema
from thermograd.store.files import open_segments, sealed_segments
from thermograd.store.locks import ProcessLock
from thermograd.store.log import seal as seal_module
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.present.snapshots import snapshot
from thermograd.store.log.reader import events_in_order, read_kind, read_tail
from thermograd.store.log.reading.parquet_layout import _page_sizes, row_groups
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.segments import parquet_bytes, read_stream
from thermograd.store.log.writer import EventWriter


def write(run_dir, writer="w", steps=100, batch_rows=16, close=True):
    log = EventWriter(run_dir, "r", writer, batch_rows=batch_rows)
    for i in range(steps):
        log.append("step", step=i, grad_norm=float(i))
    if close:
        log.close()
    return log


def write_and_die(run_dir, steps):
    """Let a process write steps and end as if it was killed."""
    child = multiprocessing.get_context("fork").Process(target=_write_and_die, args=(run_dir, steps))
    child.start()
    child.join()
    assert child.exitcode == 9


def _write_and_die(run_dir, steps):
    write(run_dir, steps=steps, close=False)
    os._exit(9)


def steps_of(run_dir):
    return read_kind(run_dir, "step").column("step").to_pylist()


def test_a_stream_cut_at_any_byte_gives_every_whole_batch_before(run_dir):
    write(run_dir, steps=6, batch_rows=2)
    path = open_segments(run_dir, "arrows")[0].path
    data = path.read_bytes()
    whole = [batch.num_rows for batch in read_stream(path)[0]]
    assert sum(whole) == 6
    lengths = set()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        batches, _ = read_stream(path)
        rows = [value for b in batches for value in b.column("step").to_pylist()]
        assert rows == list(range(len(rows)))
        lengths.add(len(rows))
    assert lengths == {0, *itertools.accumulate(whole)}


def test_flipped_bits_are_never_read_as_other_values(run_dir):
    write(run_dir, steps=48)
    path = open_segments(run_dir, "arrows")[0].path
    data = path.read_bytes()
    chance = random.Random(0)
    for _ in range(1000):
        harmed = bytearray(data)
        bit = chance.randrange(len(data) * 8)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(harmed))
        batches, damage = read_stream(path)
        rows = [(r["step"], r["grad_norm"]) for b in batches for r in b.to_pylist()]
        assert rows == [(i, float(i)) for i in range(len(rows))]
        assert damage or len(rows) == 48


def test_a_flipped_bit_anywhere_in_a_tail_is_damage_and_its_file_is_kept(run_dir):
    write_and_die(run_dir, 2)
    tail = next(segment for segment in open_segments(run_dir, "tail") if segment.kind == "step")
    data = tail.path.read_bytes()
    header = data.index(b"\n") + 1  # a text: of each byte one bit, of neighbours another one
    for bit in (*range(0, header * 8, 9), *range(header * 8, len(data) * 8)):
        harmed = bytearray(data)
        harmed[bit // 8] ^= 1 << bit % 8
        tail.path.write_bytes(bytes(harmed))
        table, damage = read_tail(tail)
        assert damage
        assert table.column("grad_norm").to_pylist() in ([], [0.0], [1.0])  # the other record is whole
    assert seal_run(run_dir, "r").damage
    assert next(run_dir.glob("quarantine/*")).read_bytes() == bytes(harmed)


def test_a_tail_cut_in_its_header_holds_nothing_and_is_no_damage(run_dir):
    write_and_die(run_dir, 1)
    tail = next(segment for segment in open_segments(run_dir, "tail") if segment.kind == "step")
    header = tail.path.read_bytes().partition(b"\n")[0]
    for cut in range(len(header) + 1):
        tail.path.write_bytes(header[:cut])
        assert read_tail(tail)[1] is None


def test_damage_is_named_and_the_events_before_it_are_read(run_dir):
    write(run_dir, steps=48)
    path = open_segments(run_dir, "arrows")[0].path
    whole = [batch.num_rows for batch in read_stream(path)[0]]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    report = verify_run(run_dir)
    assert report["ok"] is False
    harmed = next(f for f in report["files"] if "reason" in f)
    assert harmed["path"].endswith(".arrows")
    assert 0 < harmed["offset"] < len(data)
    steps = steps_of(run_dir)
    assert steps == list(range(len(steps)))
    assert len(steps) in itertools.accumulate(whole[:-1], initial=0)


def test_sealing_keeps_every_event_and_can_be_repeated(run_dir):
    write(run_dir, "a")
    write(run_dir, "b", steps=7)
    before = read_kind(run_dir, "step")
    report = seal_run(run_dir, "r")
    assert report.events["step"] == 107
    assert read_kind(run_dir, "step").equals(before)
    assert not open_segments(run_dir, "arrows") + open_segments(run_dir, "tail")
    assert seal_run(run_dir, "r").files == []
    assert verify_run(run_dir) | {"files": []} == {
        "ok": True,
        "events": {"step": 107, "sample": 0, "alert": 0, "mark": 0, "metric": 0},
        "torn_bytes": 0,
        "files": [],
    }


def test_sealing_a_live_run_takes_only_segments_with_a_successor(run_dir, monkeypatch):
    from thermograd.store.log import tail_stream as log_module

    monkeypatch.setattr(log_module, "_MAX_SEGMENT_ROWS", 32)
    log = write(run_dir, steps=100, close=False)
    end = time.monotonic() + 60
    while len(open_segments(run_dir, "arrows")) < 2:  # there may be no third: 54 rows, and 15 wait for more
        assert time.monotonic() < end
        time.sleep(0.001)
    seal_run(run_dir, "r", frozenset({"w"}))
    log.append("step", step=100)
    assert steps_of(run_dir) == list(range(101))
    log.close()
    seal_run(run_dir, "r")
    assert steps_of(run_dir) == list(range(101))


@pytest.mark.parametrize("moment", ["write_parquet", "_put_away"])
def test_a_kill_while_sealing_loses_and_doubles_nothing(run_dir, monkeypatch, moment):
    write(run_dir)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(seal_module, moment, killed)
    with pytest.raises(KeyboardInterrupt):
        seal_run(run_dir, "r")
    assert steps_of(run_dir) == list(range(100))
    monkeypatch.undo()
    seal_run(run_dir, "r")
    assert steps_of(run_dir) == list(range(100))
    assert len(sealed_segments(run_dir, "step")) == 1


def test_two_seal_at_once_one_does_it_and_the_other_says_so(run_dir, monkeypatch):
    write(run_dir)
    writing, go = threading.Event(), threading.Event()
    write_parquet = seal_module.write_parquet

    def slow(*arguments):
        writing.set()
        go.wait(60)
        return write_parquet(*arguments)

    monkeypatch.setattr(seal_module, "write_parquet", slow)
    first = threading.Thread(target=seal_run, args=(run_dir, "r"))
    first.start()
    assert writing.wait(60)
    second = seal_run(run_dir, "r")
    go.set()
    first.join()
    assert second.busy
    assert not second.files
    assert steps_of(run_dir) == list(range(100))
    assert verify_run(run_dir)["ok"]


def test_many_processes_that_seal_one_run_lose_and_double_nothing(run_dir):
    write(run_dir, steps=3000)
    processes = [
        multiprocessing.get_context("spawn").Process(target=seal_run, args=(run_dir, "r")) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    seal_run(run_dir, "r")
    assert steps_of(run_dir) == list(range(3000))
    assert not list(run_dir.rglob("*.tmp"))
    assert not list(run_dir.glob("*.lock"))


def test_what_a_killed_sealer_left_is_no_obstacle_and_is_cleared_away(run_dir):
    write(run_dir)
    lock = ProcessLock(run_dir, "seal")
    assert lock.acquire()
    lock._let_go()  # as the kernel does when its process ends
    assert lock.path.exists()
    left = run_dir / "sealed" / "step" / ".w-000000000000-000000000099.parquet.x.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1half")
    assert seal_run(run_dir, "r").events["step"] == 100
    assert not left.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_sealing_on_a_full_or_read_only_disk_says_so_and_removes_nothing(run_dir, monkeypatch, code):
    write(run_dir)

    def full(*_):
        raise OSError(code, "no room")

    monkeypatch.setattr(seal_module, "write_parquet", full)
    with pytest.raises(LogError, match=r"cannot seal .*: no room; what is not sealed stays as it was"):
        seal_run(run_dir, "r")
    assert steps_of(run_dir) == list(range(100))


def test_a_flipped_bit_in_a_sealed_file_is_found_by_verify(run_dir):
    write(run_dir)
    seal_run(run_dir, "r")
    path = sealed_segments(run_dir, "step")[0].path
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))
    report = verify_run(run_dir)
    assert report["ok"] is False
    assert report["files"][0]["path"].endswith(".parquet")


def test_damage_is_kept_in_quarantine_when_the_rest_is_sealed(run_dir):
    write(run_dir, steps=48)
    path = open_segments(run_dir, "arrows")[0].path
    whole = [batch.num_rows for batch in read_stream(path)[0]]
    path.write_bytes(path.read_bytes()[:-300])
    harmed = path.read_bytes()
    seal_run(run_dir, "r")
    kept = list((run_dir / "quarantine").iterdir())
    assert [p.read_bytes() for p in kept] == [harmed]
    assert steps_of(run_dir) == list(range(sum(whole[:-1])))
    assert verify_run(run_dir)["ok"] is False


def test_sealed_files_are_small_and_say_whose_they_are(run_dir):
    write(run_dir, steps=5000, batch_rows=1024)
    seal_run(run_dir, "r")
    path = sealed_segments(run_dir, "step")[0].path
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"thermograd.run_id"] == b"r"
    assert metadata[b"thermograd.writer"] == b"w"
    assert path.stat().st_size < 30 * 5000


def test_a_column_of_a_full_row_group_is_one_page():
    count, schema = 122_880 + 1, arrow_schema("step")
    given = {name: pa.array(np.arange(count)) for name in ("seq", "time_ns", "monotonic_ns", "step")}
    given["loss"] = pa.array(np.random.default_rng(0).normal(2, 0.1, count))
    arrays = [given[f.name] if f.name in given else pa.nulls(count, f.type) for f in schema]
    data = parquet_bytes(pa.table(arrays, schema=schema), "step")
    full, rest = row_groups(data)
    assert (full.rows, rest.rows) == (122_880, 1)
    pages = {chunk.name.decode(): len([*_page_sizes(data[chunk.start : chunk.end])]) for chunk in full.chunks}
    assert pages == dict.fromkeys(schema.names, 1)


def test_a_missing_file_in_the_middle_is_reported(run_dir, monkeypatch):
    from thermograd.store.log import tail_stream as log_module

    monkeypatch.setattr(log_module, "_MAX_SEGMENT_ROWS", 32)
    write(run_dir, steps=100)
    _, missing, after, *_ = open_segments(run_dir, "arrows")
    missing.path.unlink()
    report = verify_run(run_dir)
    assert report["ok"] is False
    said = f"events {missing.first} to {after.first - 1} of this writer are missing"
    assert any(said in f.get("reason", "") for f in report["files"])
    assert steps_of(run_dir) == [*range(missing.first), *range(after.first, 100)]


def test_following_sees_each_event_once_and_in_order_however_it_moves(run_dir):
    logs = [EventWriter(run_dir, "r", name, batch_rows=8) for name in ("a", "b")]
    follower = Follower(run_dir)
    seen = []
    chance = random.Random(1)
    for i in range(600):
        logs[chance.randrange(2)].append("step", step=i)
        if chance.random() < 0.2:
            seen += follower.poll()
        if chance.random() < 0.02:
            seal_run(run_dir, "r", frozenset({"a", "b"}))
    for log in logs:
        log.close()
    seen += follower.poll()
    seal_run(run_dir, "r")
    seen += follower.poll()
    for name in ("a", "b"):
        numbers = [e.values["seq"] for e in seen if e.writer == name]
        assert numbers == list(range(len(numbers)))
    assert sorted(e.values["step"] for e in seen) == list(range(600))


def test_following_a_long_run_lists_its_sealed_files_only_when_there_may_be_others(run_dir, monkeypatch):
    """An agent follows five times a second, for days: its work must not grow with what is sealed."""
    from thermograd.store.log.following import follower as following

    listed = []
    listing = following.sealed_segments
    monkeypatch.setattr(following, "sealed_segments", lambda *path: (listed.append(1), listing(*path))[1])
    monkeypatch.setattr(following, "_STAMP_COARSENESS_S", 0.0)
    write(run_dir)
    seal_run(run_dir, "r")
    for folder in (run_dir / "sealed", *(run_dir / "sealed").iterdir()):
        os.utime(folder, (0, 0))  # whatever is sealed next, the time will be another
    follower = Follower(run_dir)
    assert len(follower.poll()) == 100
    before = len(listed)
    for _ in range(10):
        assert follower.poll() == []
    assert len(listed) == before
    log = EventWriter(run_dir, "r", "another")
    log.append("step", step=7)
    log.close()
    seal_run(run_dir, "r")
    assert [event.values["step"] for event in follower.poll()] == [7]


def test_following_a_finished_run_reads_all_of_it(run_dir):
    write(run_dir)
    seal_run(run_dir, "r")
    assert [e.values["step"] for e in Follower(run_dir).poll()] == list(range(100))


def test_replay_order_is_by_time_whatever_the_writer(run_dir):
    for name, offset in (("b", 0), ("a", 1)):
        log = EventWriter(run_dir, "r", name)
        for i in range(5):
            log.append("step", 10 * i + offset, 0, step=i)
        log.close()
    times = [event.values["time_ns"] for event in events_in_order(run_dir)]
    assert times == sorted(times)
    assert len(times) == 10


def test_a_tail_of_an_older_schema_reads_with_null_for_newer_columns(run_dir):
    from thermograd.store.log.tail_codec import RecordCodec

    codec = RecordCodec(
        "step", [("seq", "int64"), ("time_ns", "int64"), ("monotonic_ns", "int64"), ("loss", "float64")]
    )
    path = run_dir / "open" / "old" / "step-000000000000.tail"
    path.parent.mkdir(parents=True)
    path.write_bytes(codec.header + codec.pack((0, 5, 6, 2.5)))
    row = snapshot(run_dir, "step").live["old"].to_pylist()[0]
    assert (row["loss"], row["time_ns"], row["grad_norm"]) == (2.5, 5, None)
    assert [e.values["loss"] for e in Follower(run_dir).poll()] == [2.5]
