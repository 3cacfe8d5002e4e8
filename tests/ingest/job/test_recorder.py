"""Whose steps count: those that a tap sees, or those that the script logs by hand."""

from types import SimpleNamespace

import pytest
from thermograd.ingest.job.recorder import Recorder


@pytest.fixture
def recorder():
    """Return a recorder whose steps are told by number in `written`."""
    written = []
    writer = SimpleNamespace(append=lambda kind, **values: written.append(values["step"]))
    recorder = Recorder(writer, 0)
    recorder.written = written
    return recorder


def test_a_tap_that_was_asked_for_is_believed_at_once(recorder):
    recorder.tapped(step=1)
    assert recorder.written == [1]
    assert not recorder.drop_tap()


def test_the_first_step_of_a_doubtful_tap_waits_for_the_second(recorder):
    recorder.doubt_tap()
    recorder.tapped(step=1)
    assert recorder.written == []
    recorder.tapped(step=2)
    assert recorder.written == [1, 2]
    recorder.tapped(step=3)
    assert recorder.written == [1, 2, 3]


def test_a_step_by_hand_ends_a_doubtful_tap(recorder):
    recorder.doubt_tap()
    recorder.tapped(step=1)
    assert recorder.drop_tap()
    recorder.by_hand(7, None)
    recorder.tapped(step=2)
    recorder.release()
    assert recorder.written == [7]


def test_a_tap_that_is_asked_for_later_keeps_what_it_has_seen(recorder):
    recorder.doubt_tap()
    recorder.tapped(step=1)
    recorder.trust_tap()
    assert not recorder.drop_tap()
    recorder.tapped(step=2)
    assert recorder.written == [1, 2]
