"""Several events in one write: all there, in order, once, whatever interrupts it."""

import os
import random
import signal
import threading
from contextlib import suppress
from errno import ENOSPC

import pytest
from hypothesis import given, strategies as st
from interrupting import at_bytecode, raising
from thermograd.store.log import tail as tail_module
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import seal_run, verify_run
from thermograd.store.log.tail_codec import Rows, kind_codec
from thermograd.store.log.writer import EventWriter

NAMES = ("step", "rank", "name", "value")


def block(number, count=3):
    return Rows(NAMES, [(number, 0, f"m{i}", float(i)) for i in range(count)])


def check(run_dir, writer, acknowledged, attempted, count=3):
    """Every acknowledged block is there whole and once, the log whole before and after sealing."""
    writer.close()
    assert verify_run(run_dir)["ok"]
    before = read_kind(run_dir, "metric")
    assert not seal_run(run_dir, "r").damage
    after = read_kind(run_dir, "metric")
    assert after.to_pylist() == before.to_pylist()
    assert after["seq"].to_pylist() == list(range(len(after)))
    found = list(zip(after["step"].to_pylist(), after["name"].to_pylist(), strict=True))
    assert len(set(found)) == len(found)
    assert {(number, f"m{i}") for number in acknowledged for i in range(count)} <= set(found)
    assert {step for step, _ in found} <= set(attempted)


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.text(max_size=9), st.floats()), max_size=6)
)
def test_records_of_a_block_are_those_of_single_events(rows):
    codec = kind_codec("metric")
    one_by_one = [
        codec.pack_values(7 + i, 1, 2, dict(zip(NAMES, row, strict=True))) for i, row in enumerate(rows)
    ]
    assert codec.pack_rows(7, 1, 2, Rows(NAMES, rows)) == b"".join(one_by_one)


def test_columns_in_another_order_and_unknown_ones_are_refused():
    codec = kind_codec("metric")
    for names in (("rank", "step"), ("step", "colour"), ("name", "name")):
        with pytest.raises(ValueError, match="order|no column"):
            codec.pack_rows(0, 0, 0, Rows(names, [(1, 2)]))


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_blocks_come_back_whole_over_the_ends_of_batches(run_dir, count):
    writer = EventWriter(run_dir, "r", "w", batch_rows=8)
    firsts = [writer.append_rows("metric", block(number, count), 5, 6) for number in range(120)]
    assert firsts == [number * count for number in range(120)]
    check(run_dir, writer, range(120), range(120), count)
    assert set(read_kind(run_dir, "metric")["time_ns"].to_pylist()) == {5}


def test_blocks_and_single_events_of_one_kind_share_their_numbers(run_dir):
    writer = EventWriter(run_dir, "r", "w")
    follower = Follower(run_dir)
    got = [
        writer.append("metric", name="a"),
        writer.append_rows("metric", block(1)),
        writer.append("metric", name="b"),
    ]
    assert got == [0, 1, 4]
    assert [event.values["seq"] for event in follower.poll()] == [0, 1, 2, 3, 4]
    writer.close()


@pytest.mark.parametrize("bad", [(1.5, 0, "a", 1.0), (1, 0, "a", "text"), (2**70, 0, "a", 1.0), (1, 0, "a")])
def test_a_block_that_does_not_fit_is_lost_and_counted_as_a_whole(run_dir, bad, caplog):
    writer = EventWriter(run_dir, "r", "w")
    assert writer.append_rows("metric", Rows(NAMES, [(1, 0, "good", 1.0), bad])) is None
    assert writer.append_rows("metric", Rows(NAMES, [])) is None
    assert writer.append_rows("nonsense", block(1)) is None
    assert writer.append_rows("metric", block(2)) == 0
    writer.close()
    assert writer.lost == 5
    assert read_kind(run_dir, "metric")["step"].to_pylist() == [2, 2, 2]


def test_a_disk_that_fills_within_a_block_harms_no_other_event(run_dir, monkeypatch):
    writer = EventWriter(run_dir, "r", "w")
    writer.append_rows("metric", block(1))
    real = os.write

    def torn(handle, data):
        return real(handle, data[: len(data) // 2]) if b"m1" in data else real(handle, data)

    monkeypatch.setattr(tail_module.os, "write", torn)
    assert writer.append_rows("metric", block(2)) is None
    monkeypatch.setattr(tail_module.os, "write", real)
    assert writer.append_rows("metric", block(3)) is not None
    writer.close()
    steps = read_kind(run_dir, "metric")["step"].to_pylist()
    assert (steps.count(1), steps.count(3)) == (3, 3)
    assert steps.count(2) < 3
    assert writer.lost == 3


def test_a_full_disk_is_said_once_and_the_log_goes_on(run_dir, monkeypatch, caplog):
    writer = EventWriter(run_dir, "r", "w")
    writer.append_rows("metric", block(1))
    with monkeypatch.context() as patch:

        def full(handle, data):
            raise OSError(ENOSPC, "full")

        patch.setattr(tail_module.os, "write", full)
        assert [writer.append_rows("metric", block(i)) for i in (2, 3)] == [None, None]
    assert writer.append_rows("metric", block(4)) is not None
    check(run_dir, writer, [1, 4], [1, 4])
    assert writer.lost == 6
    assert sum("could not write a metric event" in record.message for record in caplog.records) == 1


class Stop(Exception):
    """What a user's alarm may raise."""


def interrupted(writer, numbers, at):
    """Append blocks; raise at the bytecode with the number `at` that runs in the log's own code."""
    done = []
    with at_bytecode(at, raising(Stop)) as is_left:
        with suppress(Stop):
            for number in numbers:
                if writer.append_rows("metric", block(number)) is not None:
                    done.append(number)
        return done, is_left()


@pytest.mark.slow
def test_an_exception_anywhere_in_a_block_loses_and_doubles_nothing(run_dir, tmp_path):
    for at in range(1, 10_000, 17):
        place = tmp_path / str(at)
        place.mkdir()
        writer = EventWriter(place, "r", "w", batch_rows=4)
        done, is_over = interrupted(writer, range(2), at)
        after = [i for i in range(10, 14) if writer.append_rows("metric", block(i)) is not None]
        check(place, writer, done + after, [*range(2), *range(10, 14)])
        if is_over:
            return
    raise AssertionError("the blocks took more bytecodes than were tried")


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_handler_that_logs_blocks_meanwhile_loses_and_doubles_nothing(run_dir):
    writer = EventWriter(run_dir, "r", "w", batch_rows=16)
    draw, done, numbers = random.Random(0), [], iter(range(10**6))

    def log():
        number = next(numbers)
        if writer.append_rows("metric", block(number)) is not None:
            done.append(number)

    is_over = []

    def storm(*_):
        log()
        if not is_over:  # not by a repeating timer: a slow machine would do nothing but handle it
            signal.setitimer(signal.ITIMER_REAL, 5e-4)

    before = signal.signal(signal.SIGALRM, storm)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    other = threading.Thread(target=lambda: [log() for _ in range(400)])
    try:
        other.start()
        for _ in range(400):
            log()
            if draw.random() < 0.01:
                seal_run(run_dir, "r", frozenset({"w"}))
    finally:
        is_over.append(True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        other.join()
    check(run_dir, writer, done, range(next(numbers)))
    assert writer.lost == 0
    assert len(done) >= 800
