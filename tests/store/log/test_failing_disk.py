"""A disk that fails: once, for a while, or for good, at every system call that the log makes."""

import errno
import itertools
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
import thermograd.store
from thermograd.store.files import UNFINISHED
from thermograd.store.log import tail_stream as stream_module, writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.tail_codec import END
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.describe import never_written

STORE = str(Path(thermograd.store.__file__).parent)
READS = ["pread", "fstat"]
CALLS = [
    "open",
    "write",
    "ftruncate",
    "fsync",
    "link",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "close",
    *READS,
]


class FailingDisk:
    """Lets a system call of the store fail; `left` times, after `spared` calls that go well."""

    def __init__(self, monkeypatch, call, code, how="fails"):
        self.left, self.spared, self.hits = 0, 0, 0
        self._code, self._how = code, how
        self._real = getattr(os, call)
        monkeypatch.setattr(os, call, self._write if call == "write" else self._any)

    def _fails(self):
        frame, depth = sys._getframe(2), 0
        while frame is not None and not frame.f_code.co_filename.startswith(STORE) and depth < 4:
            frame, depth = frame.f_back, depth + 1
        if frame is None or depth == 4 or self.left <= 0:
            return False
        if self.spared:
            self.spared -= 1
            return False
        self.left -= 1
        self.hits += 1
        return True

    def _any(self, *args, **kwargs):
        if self._fails():
            if self._real is os.close or getattr(self._real, "__name__", "") == "close":
                self._real(*args)  # the kernel lets go of it all the same
            raise OSError(self._code, os.strerror(self._code))
        return self._real(*args, **kwargs)

    def _write(self, handle, data):
        if not self._fails():
            return self._real(handle, data)
        if self._how == "short":
            return self._real(handle, data[: len(data) // 2])
        raise OSError(self._code, os.strerror(self._code))


def open_files():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def append_some(writer, numbers):
    return [n for n in numbers if writer.append("step", step=n, loss=n / 2) is not None]


@pytest.fixture
def busy_thread(monkeypatch):
    """The log's own thread looks after its files a hundred times a second."""
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 0.01)


def wait_for(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.01)


def assert_nothing_is_lost(run_dir, acknowledged, unsure=False):
    """Check what is there, live and sealed; `unsure`: what the writer could not look for may be there."""
    for _ in ("live", "sealed"):
        steps = read_kind(run_dir, "step").to_pylist()
        read = [step["step"] for step in steps]
        assert [step for step in read if step in set(acknowledged)] == acknowledged
        assert unsure or read == acknowledged
        assert len(set(read)) == len(read)
        assert [step["seq"] for step in steps] == list(range(len(steps)))
        verified = verify_run(run_dir)
        assert verified["ok"], [entry for entry in verified["files"] if "reason" in entry]
        assert not seal_run(run_dir, "r").damage


@pytest.mark.usefixtures("busy_thread")
@pytest.mark.parametrize("times", [1, 40, 10**9], ids=["once", "a while", "for good"])
@pytest.mark.parametrize(
    ("call", "code"),
    [
        *itertools.product(CALLS, (errno.EIO, errno.ENOSPC)),
        ("open", errno.EMFILE),
        ("short write", 0),  # says no error
    ],
    ids=lambda value: errno.errorcode.get(value, "none") if isinstance(value, int) else value,
)
def test_nothing_acknowledged_is_lost_and_it_works_again_when_the_disk_does(
    run_dir, monkeypatch, call, code, times
):
    if not hasattr(os, call.removeprefix("short ")):
        pytest.skip(f"this platform has no {call}")
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    acknowledged = append_some(writer, range(100))
    before = open_files()
    disk = FailingDisk(monkeypatch, call.removeprefix("short "), code, how=call.split()[0])
    for spared in range(6):  # another call of the same name each time
        disk.spared, disk.left = spared, times
        acknowledged += append_some(writer, range(1000 * spared + 100, 1000 * spared + 260))
        writer._wake.put(None)
        wait_for(lambda: writer._wake.empty(), "the log's thread")
    assert open_files() - before < 30
    disk.left = 0
    again = append_some(writer, range(9000, 9100))
    assert len(again) == 100, "it works again at once"
    writer.close()
    assert_nothing_is_lost(run_dir, acknowledged + again, unsure=call in READS)
    lost = 6 * 160 - len(acknowledged) + 100
    assert writer.lost == lost or (call in READS and writer.lost > lost)  # a mark of ours may be lost as well
    if writer.lost:
        marks = [mark for mark in read_kind(run_dir, "mark").to_pylist() if mark["mark"] == "gap"]
        assert sum(json.loads(mark["detail"])["lost"] for mark in marks if mark["detail"]) == writer.lost


@pytest.mark.usefixtures("busy_thread")
@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fails_for_good_ends_in_a_warning_and_its_events_stay_readable(
    run_dir, monkeypatch, call, caplog
):
    if not hasattr(os, call):
        pytest.skip(f"this platform has no {call}")
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    acknowledged = append_some(writer, range(100))
    before = open_files()
    with pytest.MonkeyPatch.context() as patch:
        FailingDisk(patch, call, errno.EIO).left = 10**9
        acknowledged += append_some(writer, range(100, 500))
        writer.close()
        assert append_some(writer, [500]) == []
    assert open_files() <= before
    read = read_kind(run_dir, "step")["step"].to_pylist()
    assert [step for step in read if call not in READS or step in set(acknowledged)] == acknowledged
    assert sum("could not write a step event" in record.message for record in caplog.records) <= 1


@pytest.mark.usefixtures("busy_thread")
def test_a_disk_that_hangs_costs_no_event_and_no_file_handles(run_dir, monkeypatch, caplog):
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    hangs, goes_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def hang(handle):
        if threading.current_thread() is writer._thread:
            hangs.set()
            assert goes_on.wait(60)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr(log_module, "_CLOSE_WAIT_S", 0.2)
    acknowledged = append_some(writer, range(10))
    assert hangs.wait(60)
    before = open_files()
    acknowledged += append_some(writer, range(10, 3000))
    assert acknowledged == list(range(3000))
    assert open_files() - before < 10
    writer.close()
    assert "could not finish its log (the disk has not answered for 0.2 s)" in caplog.text
    assert read_kind(run_dir, "step")["step"].to_pylist() == acknowledged
    goes_on.set()
    writer._thread.join(60)
    assert_nothing_is_lost(run_dir, acknowledged)


def test_a_tail_whose_way_to_arrow_is_barred_ends_before_it_is_too_large_to_be_read(run_dir, monkeypatch):
    monkeypatch.setattr(stream_module, "_LARGEST_TAIL_BYTES", 10_000)
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # its thread opens no spare tail
    goes_on, opened = threading.Event(), stream_module.SegmentFile
    monkeypatch.setattr(stream_module, "SegmentFile", lambda *of: opened(*of) if goes_on.wait(60) else None)
    writer = EventWriter(run_dir, "r", "w", batch_rows=10**9)
    monkeypatch.setattr(writer._streams["step"], "_batch_rows", 8)
    acknowledged = append_some(writer, range(1000))
    sizes = [path.stat().st_size for path in run_dir.glob("open/w/step-*.tail")]
    goes_on.set()
    assert len(sizes) > 5
    assert max(sizes) < 11_000
    writer.close()
    assert_nothing_is_lost(run_dir, acknowledged)


@pytest.mark.usefixtures("busy_thread")
def test_a_full_disk_is_said_once_and_once_more_when_it_is_over(run_dir, monkeypatch, caplog):
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    append_some(writer, range(10))
    disk = FailingDisk(monkeypatch, "write", errno.ENOSPC)
    disk.left = 10**9
    for _ in range(30):
        assert append_some(writer, range(10)) == []
        time.sleep(0.01)
    disk.left = 0
    wait_for(lambda: "writes its log again; 300 events could not be written" in caplog.text, "the word")
    writer.close()
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "thermograd could not write a step event ([Errno 28] No space left on device); training goes on",
        "thermograd writes its log again; 300 events could not be written",
        "thermograd could not write 300 events of this run",
    ]
    gaps = [mark for mark in read_kind(run_dir, "mark").to_pylist() if mark["mark"] == "gap"]
    assert [json.loads(gap["detail"]) for gap in gaps] == [{"lost": 300}]


class FullDisk(FailingDisk):
    """Takes so many bytes more, the last of them half of an event, and then none."""

    def _write(self, handle, data):
        if self.left <= 0:
            return self._real(handle, data)
        if not self.hits and len(data) > 60:
            self.hits += 1
            return self._real(handle, data[:51])
        raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("kind", ["step", "metric"])
def test_what_a_disk_tore_that_stayed_full_is_no_damage_live_or_sealed(run_dir, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)
    writer = EventWriter(run_dir, "r", "w", (kind, "mark"))
    values = {"step": 1, "loss": 0.5} if kind == "step" else {"step": 1, "name": "n" * 40, "value": 0.5}
    assert [writer.append(kind, **values) for _ in range(5)] == list(range(5))
    disk = FullDisk(monkeypatch, "write", errno.ENOSPC)
    disk.left = 1
    assert [writer.append(kind, **values) for _ in range(3)] == [None] * 3
    disk.left = 0
    left = tmp_path / "left" / "run"
    shutil.copytree(run_dir, left)  # as a process leaves it that the disk never let finish
    writer.close()
    with next(left.glob(f"open/w/{kind}-*.tail")).open("ab") as file:
        file.write(END)  # a small write, for which there is room
    facts = json.loads((left / "writers" / "w.json").read_text())
    (left / "writers" / "w.json").write_text(json.dumps(facts | {"closed_time_ns": 1, UNFINISHED: True}))
    verified = verify_run(left)
    assert (verified["ok"], verified["torn_bytes"]) == (True, 51)
    assert len(read_kind(left, kind)) == 5
    report = seal_run(left, "r")
    assert (report.damage, report.events[kind]) == ([], 5)
    assert not (left / "quarantine").exists()
    assert verify_run(left)["ok"]
    assert len(read_kind(left, kind)) == 5


@pytest.mark.usefixtures("busy_thread")
def test_a_gap_says_of_which_kind_how_many_and_whose(run_dir, monkeypatch):
    writer = EventWriter(run_dir, "r", "host-a-1", ("step", "sample", "mark"), role="agent")
    for lost in (3, 2):
        disk = FailingDisk(monkeypatch, "write", errno.ENOSPC)
        disk.left = 10**9
        for number in range(lost):
            writer.append("sample", device="gpu", power_w=1.0)
            writer.append("step", step=number)
        writer.append("nonsense")
        disk.left = 0
        wait_for(lambda: writer._lost_reported == writer.lost, "the mark")
    writer.close()
    gaps = [mark["text"] for mark in read_kind(run_dir, "mark").to_pylist() if mark["mark"] == "gap"]
    assert gaps == [
        "7 events could not be written (3 sample, 3 step, 1 unknown; agent process host-a-1)",
        "5 events could not be written (2 sample, 2 step, 1 unknown; agent process host-a-1)",
    ]
    assert never_written(run_dir) == 12
