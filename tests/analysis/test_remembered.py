"""Calls are made once; an array that cannot change is looked through once."""

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
