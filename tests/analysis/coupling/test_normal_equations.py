"""Least squares on many rows without holding weighted columns: the same as with them."""

import numpy as np
import pytest
from thermograd.analysis.coupling.linear_algebra import MANY_ROWS, spanning
from thermograd.analysis.coupling.normal_equations import ScaledBasis, products, scaled_basis, solved

ROWS = MANY_ROWS + 700


@pytest.fixture(scope="module")
def weighted():
    """Return columns, the last but one of which the others span, and a scale for every row."""
    rng = np.random.default_rng(8)
    free = rng.standard_normal((ROWS, 5))
    columns = np.column_stack([free[:, :4], free[:, 0] - free[:, 2], free[:, 4]])
    return columns, np.exp(0.5 * np.sin(np.arange(ROWS) / 900))


def test_products_in_blocks_are_those_of_the_weighted_columns(weighted):
    columns, scale = weighted
    z = np.random.default_rng(1).standard_normal(ROWS)
    whole = np.column_stack([columns, z]) / scale[:, None]
    assert np.allclose(products([columns, z], scale), whole.T @ whole, rtol=1e-12, atol=1e-9)
    assert np.allclose(products([columns]), columns.T @ columns, rtol=1e-12, atol=1e-9)


def test_weights_from_products_are_those_of_least_squares(weighted):
    columns, z = weighted[0][:, :4], np.random.default_rng(2).standard_normal(ROWS)
    expected = np.linalg.lstsq(columns, z, rcond=None)[0]
    assert np.allclose(solved(products([columns]), columns.T @ z), expected, atol=1e-13)
    assert solved(products([weighted[0]]), weighted[0].T @ z) is None


@pytest.mark.parametrize("is_turned", [False, True])
def test_what_is_taken_out_is_what_an_orthonormal_basis_takes_out(weighted, is_turned):
    columns, scale = weighted
    span = scaled_basis(columns, scale, spanning(columns))
    assert isinstance(span, ScaledBasis)
    assert span.width == 6
    series = np.random.default_rng(3).standard_normal((ROWS, 3)) + columns[:, :3]
    basis = np.linalg.qr((columns / scale[:, None])[:, [0, 1, 2, 3, 5]])[0]
    if is_turned:
        span, series, basis = span.turned(), series[::-1], basis[::-1]
    told = basis.T @ series
    assert np.allclose(span.taken_out_of(series), series - basis @ told, atol=1e-12)
    assert np.allclose(span.taken_out_of(series[:, 0]), series[:, 0] - basis @ told[:, 0], atol=1e-12)
    assert np.allclose(span.told_of(None)(series.T), (told**2).sum(axis=0), rtol=1e-12)
    weight = np.linspace(0.5, 2.0, ROWS)
    weighted_sum = ((basis.T @ (weight[:, None] * series)) ** 2).sum(axis=0)
    assert np.allclose(span.told_of(weight)(series.T), weighted_sum, rtol=1e-12)
