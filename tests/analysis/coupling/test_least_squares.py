"""Least squares of many rows, against orthogonal decompositions."""

import numpy as np
import pytest
import scipy.signal
from thermograd.analysis.coupling.cleaning.residuals import slow_columns, trend_basis
from thermograd.analysis.coupling.linear_algebra import (
    MANY_ROWS,
    decaying_sums,
    fit,
    orthonormal,
    remainder,
    spanning,
)
from thermograd.analysis.remembered import Remembered

ROWS = MANY_ROWS + 200


@pytest.fixture
def columns():
    """Return columns of which the last is a sum of two others, and small."""
    rng = np.random.default_rng(3)
    free = rng.standard_normal((ROWS, 6))
    return np.hstack([free, 1e-3 * (free[:, :1] + free[:, 1:2])])


def test_a_column_that_others_span_takes_nothing_more_out(columns):
    z = np.random.default_rng(4).standard_normal(ROWS)
    basis = np.linalg.qr(columns[:, :6])[0]
    expected = z - basis @ (basis.T @ z)
    assert np.allclose(remainder(z, columns), expected, atol=1e-12)
    assert np.allclose(z - columns @ fit(z, columns), expected, atol=1e-10)
    assert spanning(columns).size == 6


def test_a_column_that_others_span_is_no_direction_of_its_own(columns):
    products = orthonormal(columns).T @ orthonormal(columns)
    assert np.allclose(products, np.diag(np.diag(products)), atol=1e-12)
    assert np.sort(np.diag(products)) == pytest.approx([0, 1, 1, 1, 1, 1, 1], abs=1e-12)


def test_a_column_that_is_only_nearly_spanned_stays(columns):
    columns[:, 6] += 1e-9 * np.random.default_rng(5).standard_normal(ROWS)
    assert spanning(columns) is None


def test_the_slow_columns_of_a_long_run_are_orthogonal_and_span_the_trend():
    trend = trend_basis(ROWS, 20, np.zeros(ROWS, dtype=np.int64))
    slow = slow_columns(ROWS, 20, np.zeros(ROWS, dtype=np.int64))
    assert np.allclose(slow.T @ slow / ROWS, np.eye(slow.shape[1]), atol=1e-10)
    assert np.abs(trend - slow @ (slow.T @ trend) / ROWS).max() < 1e-9


def test_what_was_asked_for_longest_ago_is_worked_out_again():
    calls = []

    def doubled(values):
        calls.append(float(values[0]))
        return 2 * values

    remembered = Remembered(most_bytes=2 * 8 * 100)
    for first in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
        assert remembered(doubled, np.full(100, first))[0] == 2 * first
    assert calls == [1.0, 2.0, 3.0, 2.0]


@pytest.mark.parametrize("kept", [0.0, 0.37, 0.98])
def test_decaying_sums_are_what_a_recursive_filter_gives(kept):
    values = np.random.default_rng(9).standard_normal((500, 2))[:, 0]
    expected = scipy.signal.lfilter([1.0], [1.0, -kept], values)
    np.testing.assert_allclose(decaying_sums(values, kept), expected, rtol=1e-13, atol=1e-14)
    assert decaying_sums(values[:1], kept) == values[:1]
