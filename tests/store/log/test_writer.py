import json
import logging
import os
import shlex
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest
from thermograd.store.errors import LogError
from thermograd.store.files import open_segments
from thermograd.store.log import tail_stream as stream_module, writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.segments import read_stream
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run


def wait_for(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def alone(monkeypatch):
    """Let the log's own thread do nothing by itself: what a test counts is what the test has done."""
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)


def test_events_come_back_with_every_value_and_gapless_numbers(run_dir):
    writer = EventWriter(run_dir, "r", "w")
    for i in range(2500):
        writer.append("step", 10 + i, i, step=i, loss=float("nan") if i == 7 else i / 2, skipped=i % 2 == 0)
    writer.append("mark", mark="note", text="ü <script>")
    writer.close()
    steps = read_kind(run_dir, "step")
    assert steps.column("seq").to_pylist() == list(range(2500))
    assert steps.column("time_ns").to_pylist() == list(range(10, 2510))
    assert steps.column("loss")[8].as_py() == 4.0
    assert str(steps.column("loss")[7].as_py()) == "nan"
    assert steps.column("grad_norm").null_count == 2500
    assert read_kind(run_dir, "mark").column("text").to_pylist() == ["ü <script>"]


def test_what_a_reader_meets_are_large_batches_that_stock_pyarrow_reads(run_dir):
    writer = EventWriter(run_dir, "r", "w")
    for i in range(3000):
        writer.append("step", step=i)
    writer.close()
    path = next(run_dir.glob("open/w/step-*.arrows"))
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        batches = list(reader)
        metadata = reader.schema.metadata
    assert sum(map(len, batches)) == 3000
    assert len(batches) <= 5
    assert metadata[b"thermograd.run_id"] == b"r"
    assert metadata[b"thermograd.writer"] == b"w"


def test_batches_move_to_arrow_while_the_run_goes_on(run_dir):
    writer = EventWriter(run_dir, "r", "w", batch_rows=16)
    for i in range(100):
        writer.append("step", step=i)
    wait_for(
        lambda: sum(len(b) for s in open_segments(run_dir, "arrows") for b in read_stream(s.path)[0]) > 84
    )
    assert read_kind(run_dir, "step").column("seq").to_pylist() == list(range(100))
    writer.close()


def test_segments_rotate_when_they_are_large(run_dir, monkeypatch):
    monkeypatch.setattr(stream_module, "_MAX_SEGMENT_ROWS", 32)
    writer = EventWriter(run_dir, "r", "w", batch_rows=16)
    for i in range(100):
        writer.append("step", step=i)
    writer.close()
    segments = [sum(map(len, read_stream(s.path)[0])) for s in open_segments(run_dir, "arrows")]
    assert sum(segments) == 100
    assert all(32 <= rows < 64 for rows in segments[:-1])
    assert read_kind(run_dir, "step").column("step").to_pylist() == list(range(100))


@pytest.mark.parametrize("kind", ["step", "sample"])
def test_sigkill_loses_nothing_that_was_acknowledged(run_dir, kind):
    script = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from thermograd.store.log.writer import EventWriter
        writer = EventWriter(Path({str(run_dir)!r}), "r", "w", ({kind!r},), batch_rows=64)
        while True:
            seq = writer.append({kind!r})
            os.write(1, b"%d\\n" % seq)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(700)]
    process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    acknowledged = [int(line) for line in lines if line.endswith(b"\n")]
    read = read_kind(run_dir, kind).column("seq").to_pylist()
    assert read == list(range(len(read)))
    assert len(read) in (acknowledged[-1] + 1, acknowledged[-1] + 2)


@pytest.mark.usefixtures("alone")
def test_append_never_raises_and_counts_what_it_could_not_write(run_dir, caplog):
    writer = EventWriter(run_dir, "r", "w")
    with caplog.at_level(logging.WARNING, "thermograd"):
        assert writer.append("no such kind") is None
        assert writer.append("no such kind") is None
        assert writer.append("step", step="three", loss=1.5) == 0
        assert writer.append("step", nonsense=1) == 1
        assert writer.append("step", step=1) == 2
    assert (writer.lost, writer.unfit) == (2, 2)
    assert [record.message for record in caplog.records] == [
        "thermograd could not write a no such kind event (event kind 'no such kind' is not known; allowed: "
        "step, sample, alert, mark, metric); training goes on",
        "thermograd: step is 'three': 'str' object cannot be interpreted as an integer; its column stays "
        "empty, training goes on",
    ]
    writer.close()
    assert writer.append("step", step=2) is None
    steps = read_kind(run_dir, "step").to_pylist()
    assert [(step["step"], step["loss"]) for step in steps] == [(None, 1.5), (None, None), (1, None)]
    marks = read_kind(run_dir, "mark").to_pylist()
    assert [(mark["mark"], json.loads(mark["detail"])) for mark in marks] == [
        ("gap", {"lost": 2}),
        ("gap", {"unfit": 2}),
    ]


@pytest.mark.usefixtures("alone")
def test_a_full_disk_is_survived_and_reported_when_there_is_room_again(run_dir, monkeypatch):
    writer = EventWriter(run_dir, "r", "w")
    assert writer.append("step", step=1) == 0
    write = os.write

    def full(handle, data):  # half of the record still fits
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    assert writer.append("step", step=2) is None
    assert writer.append("step", step=3) is None
    monkeypatch.undo()
    assert writer.append("step", step=4) == 1
    writer.close()
    assert read_kind(run_dir, "step").column("step").to_pylist() == [1, 4]
    assert json.loads(read_kind(run_dir, "mark")["detail"][0].as_py()) == {"lost": 2}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_a_forked_child_writes_nothing(run_dir):
    writer = EventWriter(run_dir, "r", "w")
    writer.append("step", step=1)
    script_status = None
    pid = os.fork()
    if pid == 0:
        code = 0 if writer.append("step", step=99) is None else 1
        writer.close()
        os._exit(code)
    script_status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    writer.append("step", step=2)
    writer.close()
    assert script_status == 0
    assert read_kind(run_dir, "step").column("step").to_pylist() == [1, 2]


def test_a_directory_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot start a log in"):
        EventWriter(tmp_path / "file", "r", "w")


def test_a_disk_that_fills_up_is_said_once_and_in_the_log(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(log_module, "_LITTLE_SPACE_BYTES", 1 << 60)
    monkeypatch.setattr(log_module, "_SPACE_PERIOD_S", 0.0)
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # else the log's thread looks as well
    run = create_run(tmp_path, "r")
    writer = EventWriter(run.path, run.run_id, "w")
    for _ in range(3):
        writer._watch_space()
    writer.close()
    assert caplog.text.count("MB are free") == 1
    runs = shlex.quote(str(tmp_path))
    assert f"thermograd --runs {runs} runs --prune-older-than 30d --yes (" in caplog.text
    assert [m["mark"] for m in read_kind(run.path, "mark").to_pylist()] == ["note"]


def test_a_disk_with_less_than_a_megabyte_is_told_in_kilobytes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(log_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=700_000))
    monkeypatch.setattr(log_module, "_LITTLE_SPACE_BYTES", 1 << 20)
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # else the log's thread looks as well
    run = create_run(tmp_path / "my runs", "r")
    writer = EventWriter(run.path, run.run_id, "w")
    writer._watch_space()
    writer.close()
    assert "only 683 kB are free" in caplog.text
    assert "my runs' runs --prune-older-than 30d --yes" in caplog.text
    (mark,) = read_kind(run.path, "mark").to_pylist()
    assert mark["text"].startswith("only 683 kB are free")
