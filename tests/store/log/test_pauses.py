"""The log's own thread works in small pieces: a training that waits for the interpreter soon has it."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from thermograd.store.files import open_dir
from thermograd.store.log import pauses as pauses_module, writer as log_module
from thermograd.store.log.pauses import Pauses
from thermograd.store.log.reader import read_kind
from thermograd.store.log.tail_codec import RecordCodec
from thermograd.store.log.tail_stream import TailStream
from thermograd.store.log.writer import EventWriter


@pytest.fixture
def stream(run_dir):
    """The steps of a writer that has no thread of its own, a full batch of them."""
    open_dir(run_dir, "w").mkdir(parents=True)
    stream = TailStream(open_dir(run_dir, "w"), "step", 1024, "r", "w")
    for step in range(1024):
        stream.append(step, step, {"step": step})
    yield stream
    stream.finish()
    stream.let_go()


def test_it_sleeps_after_a_long_piece_of_work_and_not_after_a_short_one(monkeypatch):
    now, slept = [0.0], []
    clock = SimpleNamespace(perf_counter=lambda: now[0], sleep=slept.append)
    monkeypatch.setattr(pauses_module, "time", clock)
    pause = Pauses()
    for after_s, sleeps in ((5e-5, 0), (4e-5, 0), (2e-5, 1), (9e-5, 1), (1.0, 2)):
        now[0] += after_s
        pause()
        assert len(slept) == sleeps


def test_it_may_pause_after_every_few_rows_and_after_every_column(stream, monkeypatch):
    scan, work = RecordCodec.scan, []

    def scanned(*arguments):
        found = scan(*arguments)
        work.append(len(found.rows))
        return found

    stream.prepare()
    monkeypatch.setattr(RecordCodec, "scan", scanned)
    stream._pause = lambda: work.append("pause")
    stream.emit()
    read = [piece for piece in work if piece != "pause"]
    assert sum(read) == 1024
    assert max(read) <= 32
    assert all("pause" in pair for pair in pairwise(work))
    assert work.count("pause") > len(read) + 13


def test_it_may_pause_after_every_step_of_its_round_and_does_not_at_the_end(run_dir, monkeypatch):
    monkeypatch.setattr(log_module, "_SYNC_PERIOD_S", 3600.0)  # its thread does nothing by itself
    writer, paused = EventWriter(run_dir, "r", "w", ("step",)), []
    monkeypatch.setattr(writer, "_pause", lambda: paused.append(True))
    writer._tidy()
    assert len(paused) == 6
    writer.close()
    assert len(paused) == 6


def test_events_that_come_in_its_pauses_are_all_there_and_in_order(run_dir, stream):
    numbers = iter(range(1024, 10**6))

    def append():
        step = next(numbers)
        assert stream.append(step, step, {"step": step}) == step

    stream._pause = append
    for _ in range(40):
        stream.prepare()
        stream.emit()
    stream.finish()
    read = read_kind(run_dir, "step")
    assert read["step"].to_pylist() == read["seq"].to_pylist() == list(range(next(numbers)))
