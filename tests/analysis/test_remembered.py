"""Calls are made once; an array that cannot change is looked through once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from thermograd.analysis import remembered
from thermograd.analysis.remembered import Remembered, fixed
from thermograd.analysis.run.readings.compared import Shared


def _sum(values: np.ndarray) -> float:
    return float(values.sum())


@pytest.fixture
def looked_through(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Return a list of the arrays whose content is looked through, as that happens."""
    seen, digest = [], remembered.digest
    monkeypatch.setattr(remembered, "digest", lambda array: (seen.append(array), digest(array))[1])
    return seen


def test_an_array_that_cannot_change_is_looked_through_once(looked_through):
    call, values = Remembered(), fixed(np.arange(5.0))
    assert [call(_sum, values), call(_sum, values), call(_sum, np.arange(5.0))] == [10.0] * 3
    assert len(looked_through) == 2


def test_an_array_that_has_changed_is_another():
    call, values = Remembered(), np.arange(5.0)
    before = call(_sum, values)
    values[0] = 7.0
    assert (before, call(_sum, values)) == (10.0, 17.0)


def test_an_array_in_the_place_of_one_that_is_gone_is_another():
    call = Remembered()
    for at in range(100):  # freed memory is used again, and with it the identity
        assert call(_sum, fixed(np.full(3, float(at)))) == 3.0 * at


def test_residuals_that_differ_in_their_first_bins_share_the_others():
    values = np.random.default_rng(0).normal(size=2000)
    later = np.where(np.arange(2000) < 10, np.nan, values)
    shared = Shared()
    one, other = shared.rest(values.copy()), shared.rest(later.copy())
    assert one.others is other.others
    assert np.array_equal(one.whole(), values)
    assert np.array_equal(other.whole(), later, equal_nan=True)


def test_a_thread_waits_for_what_another_is_working_out():
    call, calls, begun, more = Remembered(), [], threading.Event(), threading.Event()

    def slow(value):
        calls.append(value)
        begun.set()
        assert more.wait(20)
        return np.full(3, float(value))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, slow, 7)
        assert begun.wait(20)
        second = pool.submit(call, slow, 7)
        assert call(np.ones, 3).sum() == 3.0  # another question is answered meanwhile
        more.set()
        assert first.result() is second.result()
    assert calls == [7]


def test_a_call_that_failed_is_made_anew():
    call, calls = Remembered(), []

    def fails_once():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not now")
        return 5

    with pytest.raises(ValueError, match="not now"):
        call(fails_once)
    assert call(fails_once) == 5
