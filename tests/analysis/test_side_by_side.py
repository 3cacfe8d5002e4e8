"""Pieces of work at the same time: answers in order, no more at a time than asked for, errors as they are."""

import os
import threading
from functools import partial

import pytest
from thermograd.analysis.side_by_side import side_by_side, threads_here
from thermograd.ingest.agent.footprint import FRUGAL


def test_two_pieces_are_worked_at_at_a_time_and_answers_keep_their_order():
    both = threading.Barrier(2, timeout=20)

    def piece(number):
        both.wait()  # ends only where another piece is there too
        return number

    assert list(side_by_side([partial(piece, k) for k in range(6)], 2)) == list(range(6))


def test_a_piece_is_asked_for_only_when_one_before_it_is_done():
    asked, done = [], []

    def pieces():
        for k in range(8):
            asked.append(k)
            assert k - len(done) <= 2
            yield partial(done.append, k)

    assert list(side_by_side(pieces(), 2)) == [None] * 8
    assert asked == sorted(done) == list(range(8))


def test_with_one_thread_all_is_done_in_the_callers():
    assert set(side_by_side([threading.get_ident] * 3, 1)) == {threading.get_ident()}


def test_what_runs_beside_a_training_takes_one_thread(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_here() == 2
    for name, value in FRUGAL.items():
        monkeypatch.setenv(name, value)
    assert threads_here() == 1


def test_the_error_of_a_piece_is_the_callers():
    def fails():
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        list(side_by_side([lambda: 1, fails, lambda: 2], 2))


@pytest.mark.parametrize("where", ["as pieces are asked for", "in the caller's loop"])
def test_ctrl_c_waits_for_no_piece(where):
    go_on, done = threading.Event(), []

    def pieces():
        yield lambda: 1
        yield lambda: done.append(go_on.wait(10))
        if where == "as pieces are asked for":
            raise KeyboardInterrupt

    def caller():
        for _ in side_by_side(pieces(), 2):
            if where == "in the caller's loop":
                raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            caller()
        assert not done
    finally:
        go_on.set()
