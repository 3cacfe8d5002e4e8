"""Series without trend, drivers and own past, against the slow regression."""

import naive
import numpy as np
from thermograd.analysis.calibration.processes import (
    trend,
)
from thermograd.analysis.coupling.cleaning.lattice import Lattice
from thermograd.analysis.coupling.cleaning.residuals import (
    full_rank,
    own_residuals,
    trend_basis,
    with_driver_lags,
)


def whole(m):
    """Return a lattice on which nothing is missing."""
    return Lattice(np.arange(m), np.zeros(m, dtype=np.int64))


def test_residuals_equal_the_slow_regression():
    for seed, m in ((0, 90), (3, 300), (5, 700)):
        z = trend(np.random.default_rng(seed), m).x
        cosines = max(2, round(m / 60))
        nuisance = trend_basis(m, cosines)
        fast = own_residuals(z, nuisance, whole(m), nuisance, cosines)
        volatility = trend_basis(m, max(0, cosines // 2 - 1))
        order, slow = naive.residuals(z, nuisance, volatility, min(10, m // 10), nuisance.shape[1])
        assert fast.order == order
        assert np.isnan(fast.values[:order]).all()
        np.testing.assert_allclose(fast.values[order:], slow, rtol=1e-7, atol=1e-9)


def test_full_rank_keeps_the_span():
    base = trend_basis(40, 2)
    extra = np.random.default_rng(33).standard_normal((40, 2))
    kept = full_rank(np.hstack([base, extra, extra @ [[1.0], [2.0]]]), base.shape[1])
    assert kept.shape == (40, 6)
    assert np.linalg.matrix_rank(np.hstack([kept, extra])) == 6


def test_lagged_drivers_start_anew_in_every_segment():
    lagged = with_driver_lags(np.arange(5.0)[:, None], 2, Lattice(np.arange(5), np.array([0, 0, 1, 1, 1])))
    assert lagged[:, 1].tolist() == [0, 0, 2, 2, 3]
    assert lagged[:, 2].tolist() == [0, 0, 2, 2, 2]
