"""Numbers of events twice, in disorder, or with a hole: all events are read, before and after sealing."""

import os

import pyarrow as pa
import pytest
from thermograd.store.events import arrow_schema
from thermograd.store.files import open_segments
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.present import one_file
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.log.reader import kind_parts, read_kind
from thermograd.store.log.reading import damage
from thermograd.store.log.reading.numbering import in_order, pieces
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.segments import write_parquet
from thermograd.store.log.tail_codec import kind_codec
from thermograd.store.log.writing.live_stream import SegmentFile
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run

# (number, step) of each event as the file has it, and as it is to be read
CASES = {
    "two events of one number": ([(0, 0), (1, 1), (1, 2), (2, 3)], [(0, 0), (1, 1), (1, 2), (2, 3)]),
    "an event twice": ([(0, 0), (1, 1), (1, 1), (2, 2)], [(0, 0), (1, 1), (2, 2)]),
    "disorder": ([(2, 2), (0, 0), (3, 3), (1, 1)], [(0, 0), (1, 1), (2, 2), (3, 3)]),
    "a hole": ([(0, 0), (1, 1), (5, 5), (6, 6)], [(0, 0), (1, 1), (5, 5), (6, 6)]),
    "all at once": (
        [(4, 4), (0, 0), (1, 1), (1, 2), (1, 2), (8, 8), (8, 9)],
        [(0, 0), (1, 1), (1, 2), (4, 4), (8, 8), (8, 9)],
    ),
    "one number many times": ([(7, i) for i in range(5)], [(7, i) for i in range(5)]),
    "everything twice": ([(i, i) for i in range(4)] * 2, [(i, i) for i in range(4)]),
    "numbers no name can have": ([(0, 0), (-1, 1), (2**63 - 1, 2), (1, 3)], [(0, 0), (1, 3)]),
}


def table_of(events):
    columns = {field.name: [None] * len(events) for field in arrow_schema("step")}
    columns |= {"seq": [seq for seq, _ in events], "step": [step for _, step in events]}
    columns |= {name: [step for _, step in events] for name in ("time_ns", "monotonic_ns")}
    return pa.table(columns, schema=arrow_schema("step"))


def events_of(table):
    return list(zip(table["seq"].to_pylist(), table["step"].to_pylist(), strict=True))


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(autouse=True)
def told_nothing_yet(monkeypatch):
    monkeypatch.setattr(damage, "_told", {})


def live_stream(run, events):
    folder = run.path / "open" / "w"
    folder.mkdir(parents=True)
    segment = SegmentFile(folder, "step", 0, run.run_id, "w")
    for start in range(0, len(events), 3):
        segment.write([tuple(row.values()) for row in table_of(events[start : start + 3]).to_pylist()])
    segment.close()
    os.utime(segment.path, (0, 0))  # long ago: nobody writes to it
    os.utime(folder, (0, 0))


@pytest.mark.parametrize("again", [False, True])
def test_every_event_of_a_stream_is_read_and_sealed_whatever_its_numbers(tmp_path, case, again):
    written, expected = case
    run = create_run(tmp_path, "x")
    live_stream(run, written)
    assert events_of(read_kind(run.path, "step")) == expected
    assert verify_run(run.path)["ok"] is False, "verify says it before it is sealed"
    sealed = seal_run(run.path, run.run_id)
    assert sealed.events == {"step": len(expected)}
    assert not open_segments(run.path, "arrows")
    if again:
        seal_run(run.path, run.run_id)
    assert events_of(read_kind(run.path, "step")) == expected
    assert [e for part in kind_parts(run.path, "step") for e in events_of(part)] == expected
    assert verify_run(run.path)["events"]["step"] == len(expected)
    rows = query("SELECT seq, step FROM steps ORDER BY seq, step", [run])
    assert events_of(rows) == expected
    assert len(Follower(run.path).poll()) == len(expected)


def test_a_sealed_file_of_before_is_healed_when_it_is_read(tmp_path, case, caplog):
    """Older versions sealed such events as they were, and then gave up the whole file."""
    written, expected = case
    run = create_run(tmp_path, "x")
    path = run.path / "sealed" / "step" / f"w-{min(written)[0] % 10**12:012}-{written[-1][0]:012}.parquet"
    write_parquet(path, table_of(written), "step")
    assert events_of(read_kind(run.path, "step")) == expected
    assert "all of it was read" in caplog.text
    entry = verify_run(run.path)["files"][0]
    assert entry["events"] == len(expected)
    assert entry["reason"]


def test_what_sealing_writes_is_whole_for_older_versions_too(case):
    written, expected = case
    parts = pieces(in_order(table_of(written))[0])
    assert [event for part in parts for event in events_of(part)] == expected
    ends = [(part["seq"][0].as_py(), part["seq"][-1].as_py()) for part in parts]
    assert len(set(ends)) == len(ends), "each part has a file name of its own"


def test_order_and_numbers_of_a_good_file_are_not_touched():
    table = table_of([(i, i) for i in range(100)])
    healed, wrong = in_order(table)
    assert healed is table
    assert wrong == ""


@pytest.mark.parametrize("hosts", [2, 3])
def test_events_that_two_hosts_sealed_at_once_are_there_once(tmp_path, hosts):
    run = create_run(tmp_path, "x")
    events = [(i, i) for i in range(100)]
    for last in (99, 63, 31)[:hosts]:
        name = f"w-{0:012}-{last:012}.parquet"
        write_parquet(run.path / "sealed" / "step" / name, table_of(events[: last + 1]), "step")
    more = run.path / "sealed" / "step" / f"w-{100:012}-{109:012}.parquet"
    write_parquet(more, table_of([(i, i) for i in range(100, 110)]), "step")
    expected = [(i, i) for i in range(110)]
    assert events_of(read_kind(run.path, "step")) == expected
    assert events_of(query("SELECT seq, step FROM steps ORDER BY seq", [run])) == expected
    assert verify_run(run.path)["events"]["step"] == count_events(run.path, "step") == 110
    assert Run(run.path).counts()["step"] == 110


@pytest.mark.parametrize("place", ["open/v/step-000000000000.arrows", "open/w/sample-000000000000.arrows"])
def test_a_stream_in_the_place_of_another_is_told_from_it(tmp_path, place):
    run = create_run(tmp_path, "x")
    live_stream(run, [(0, 0)])
    copy = run.path / place
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(open_segments(run.path, "arrows")[0].path.read_bytes())
    report = verify_run(run.path)
    (entry,) = (entry for entry in report["files"] if "reason" in entry)
    assert entry["path"] == place
    assert "events" in entry
    assert entry["events"] == 0


def test_an_event_written_while_another_file_is_read_is_not_missed(run_dir, monkeypatch):
    """A reader opened the oldest tail first: what came to it after that was a hole in the answer."""
    codec, folder = kind_codec("step"), run_dir / "open" / "w"
    folder.mkdir(parents=True)

    def write(first, steps):
        with (folder / f"step-{first:012}.tail").open("ab") as file:
            for step in steps:
                file.write(codec.pack((step, step, step, step, *[None] * (len(codec.names) - 4))))

    for first in (0, 4):
        (folder / f"step-{first:012}.tail").write_bytes(codec.header)
    write(0, range(3))
    read, opened = one_file.read_segment, []

    def read_then_write(segment):
        table = read(segment)
        if not opened:
            write(0, [3])
            write(4, [4, 5])
        opened.append(segment.first)
        return table

    monkeypatch.setattr(one_file, "read_segment", read_then_write)
    numbers = read_kind(run_dir, "step")["seq"].to_pylist()
    assert numbers == list(range(len(numbers)))
    assert sorted(opened) == [0, 4]
    assert read_kind(run_dir, "step")["seq"].to_pylist() == list(range(6))
