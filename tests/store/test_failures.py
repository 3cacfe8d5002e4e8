"""Failures that must not end the work around them are counted, and the first of each place is told."""

import pytest
from thermograd.store.failures import Guard, guarded


def test_the_first_failure_of_each_place_is_logged_and_every_one_is_counted(caplog):
    guard = Guard("%(place)s failed (%(error)r); training goes on")
    told = [guard.count(ValueError("no"), place) for place in ("clip", "clip", "step")]
    assert told == [True, False, True]
    assert caplog.messages == [
        f"{place} failed (ValueError('no')); training goes on" for place in ("clip", "step")
    ]
    assert guard.failures == 3


def test_a_context_keeps_a_failure_but_not_ctrl_c():
    told = []
    guard = Guard("it failed: %(error)s", told.append)
    with guard:
        raise ValueError("100 % of it")
    with pytest.raises(KeyboardInterrupt), guard:
        raise KeyboardInterrupt
    assert (told, guard.failures) == (["it failed: 100 % of it"], 1)


def test_what_cannot_be_told_is_counted_all_the_same():
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError

    guard = Guard("failed (%(error)s)")
    with guard:
        raise Unspeakable
    assert guard.failures == 1


def test_failures_are_taken_once():
    guard = Guard("failed")
    taken = []
    for failures in (2, 0, 1):
        for _ in range(failures):
            guard.count("x")
        taken.append(guard.take())
    assert (taken, guard.failures) == ([2, 0, 1], 3)


def test_a_method_is_guarded_by_its_own_object(caplog):
    class Hook:
        def __init__(self):
            self.guard = Guard("could not see (%(error)s)")

        @guarded
        def see(self, value):
            raise ValueError(value)

    first, second = Hook(), Hook()
    for hook, value in ((first, 1), (first, 2), (second, 3)):
        assert hook.see(value) is None
    assert (first.guard.failures, second.guard.failures) == (2, 1)
    assert caplog.messages == ["could not see (1)", "could not see (3)"]
