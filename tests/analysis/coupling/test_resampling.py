"""Profiles and p-values of resampled series, against the definitions."""

import naive
import numpy as np
import pytest
from thermograd.analysis.coupling.resampling import LaggedPair, half_width, permutation_p, sidak_p
from thermograd.analysis.coupling.residuals import trend_basis


def test_profile_equals_the_sum_over_all_pairs_of_bins():
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((2, 60))
    segments = np.repeat([0, 1, 2], [25, 5, 30])
    lags = np.arange(-8, 9)
    pair = LaggedPair.build(x, y, np.ones((60, 1)), segments, lags)
    np.testing.assert_allclose(pair.profile(), naive.profile(x, y, segments, 8), atol=1e-14)


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.6])
def test_permutation_p_equals_projecting_each_series_by_itself(strength):
    rng = np.random.default_rng(12)
    nuisance = trend_basis(50, 3)
    noise = rng.standard_normal((2, 50))
    noise[1, 2:] += strength * noise[0, :-2]
    x, y = (values - nuisance @ np.linalg.lstsq(nuisance, values)[0] for values in noise)
    pair = LaggedPair.build(x, y, nuisance, np.zeros(50, dtype=np.int64), np.arange(6))
    orders = np.random.default_rng(3).permuted(np.tile(x, (600, 1)), axis=1)
    expected = naive.permutation_p(x, pair.shifted, nuisance, float(np.linalg.norm(y)), orders)
    assert permutation_p(pair, 600, np.random.default_rng(3)) == expected


def test_sidak_p_and_half_width_agree_at_the_five_percent_point():
    assert sidak_p(half_width(389, 13), 389, 13) == pytest.approx(0.05, abs=1e-9)
    assert [round(half_width(m - 4 - round(m / 60), 13), 2) for m in (75, 400, 1000)] == [0.34, 0.15, 0.09]
