"""Two who go from one file of the log to the next at the same time, at every system call of the other."""

import os
from itertools import count

import pytest
from thermograd.store.log import tail_stream as stream_module, writer as log_module
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.tail import Tail
from thermograd.store.log.tail_codec import kind_codec
from thermograd.store.log.writer import EventWriter

CALLS = ["open", "fstat", "pread", "write", "ftruncate", "link", "rename", "replace", "unlink", "close"]
HEADER = kind_codec("step").header


def is_over_when_another_comes(act, another, at):
    """Do something; `another` comes before its system call of this number. Whether it has fewer."""
    left = at
    with pytest.MonkeyPatch.context() as patch:

        def wrapped(real):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == -1:
                    another()
                return real(*args, **kwargs)

            return call

        for name in CALLS:
            if hasattr(os, name):
                patch.setattr(os, name, wrapped(getattr(os, name)))
        act()
    return left >= 0


@pytest.fixture
def writer(run_dir, monkeypatch):
    """A writer whose own thread does nothing by itself."""
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)
    return EventWriter(run_dir, "r", "w", batch_rows=4)


def check(run_dir, writer, steps):
    assert writer.lost == 0
    for _ in ("live", "closed", "sealed"):
        read = read_kind(run_dir, "step").to_pylist()
        assert sorted(event["step"] for event in read) == sorted(steps)
        assert [event["seq"] for event in read] == list(range(len(steps)))
        assert verify_run(run_dir)["ok"]
        writer.close()
        assert not seal_run(run_dir, "r").damage


@pytest.mark.parametrize("before", [b"", HEADER[:20], HEADER], ids=["new", "torn", "there"])
def test_two_that_open_a_file_at_once_give_it_one_header_and_lose_nothing(tmp_path, before):
    for at in count():
        path = tmp_path / str(at)
        path.mkdir()
        (path / "step-000000000000.tail").write_bytes(before)
        tails = []

        def open_and_append(path=path, tails=tails):
            tails.append(Tail(path, "step", 0))
            tails[-1].append(0, 0, {"step": len(tails)})

        is_over = is_over_when_another_comes(open_and_append, open_and_append, at)
        assert tails[-1].recount()[0] == len(tails)
        data = tails[-1].content()
        found = kind_codec("step").scan(data, len(HEADER))
        assert data.startswith(HEADER)
        assert [row[0] for row in found.rows] == list(range(len(tails)))
        assert found.skipped == 0
        assert found.end == len(data)
        for tail in tails:
            tail.close()
        if is_over:
            assert at >= 4
            return


@pytest.mark.parametrize("how", ["with a spare file", "without", "no event in it", "taken away"])
def test_two_that_go_on_from_a_file_at_once_lose_nothing_and_number_it_right(run_dir, writer, how):
    stream, steps, numbers = writer._streams["step"], [], []

    def append():
        steps.append(len(steps))
        numbers.append(writer.append("step", step=steps[-1]))

    def go_on():
        if how in ("no event in it", "taken away"):
            stream.leave()
        else:
            stream._end(stream._tail)

    for at in count():
        if how == "taken away":
            stream._tail.path.unlink()
        elif how != "no event in it":
            append()
        if how == "with a spare file":
            stream.prepare()
        is_over = is_over_when_another_comes(go_on, append, at)
        append()
        go_on()
        if is_over:
            break
    assert at >= 4
    assert numbers == list(range(len(steps)))
    if how == "taken away":  # what has no name is read again once it stands in another file
        stream.emit()
    check(run_dir, writer, steps)


def test_a_file_that_ended_without_an_event_does_not_stand_for_the_one_that_has_its_name(
    run_dir, writer, monkeypatch
):
    monkeypatch.setattr(stream_module, "_LARGEST_TAIL_BYTES", 0)  # each event ends its file
    stream = writer._streams["step"]
    stream._tail.path.unlink()
    stream.leave()
    for step in range(3):
        assert writer.append("step", step=step) == step
    stream.emit()
    check(run_dir, writer, [0, 1, 2])


def test_what_cannot_go_on_from_a_file_without_events_is_counted_until_its_thread_has_looked_after_it(
    run_dir, writer, monkeypatch
):
    stream = writer._streams["step"]
    with monkeypatch.context() as patch:
        for name in ("link", "rename", "replace"):
            patch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(5, "no")))
        with pytest.raises(OSError, match="no"):
            stream.leave()
        stream._spare.path.unlink()
        assert writer.append("step", step=0) is None
    stream.prepare()
    assert [writer.append("step", step=step) for step in (1, 2)] == [0, 1]
    assert writer.lost == 1
    writer.lost = 0
    check(run_dir, writer, [1, 2])
