"""Profiles and p-values of resampled series, against the definitions."""

import naive
import numpy as np
import pytest
from thermograd.analysis.coupling.cleaning.residuals import trend_basis
from thermograd.analysis.coupling.evidence.resampling import permutation_p, sidak_p, spread_width
from thermograd.analysis.coupling.normal_equations import Basis
from thermograd.analysis.coupling.responses import LaggedPair, Searched, responses

NO_MEMORIES = np.empty(0)


def test_profile_equals_the_sum_over_all_pairs_of_bins():
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((2, 60))
    segments = np.repeat([0, 1, 2], [25, 5, 30])
    looked = Searched(np.arange(9), NO_MEMORIES)
    columns = responses(x, np.arange(60) + 20 * segments, looked)
    r = y @ columns / np.linalg.norm(x) / np.linalg.norm(y)
    np.testing.assert_allclose(r, naive.profile(x, y, segments, 8)[8:], atol=1e-14)


def test_a_slow_response_is_a_sum_over_the_past_from_the_first_lag_on():
    x = np.random.default_rng(13).standard_normal(40)
    place = np.append(np.arange(20), np.arange(20) + 23)  # three bins are missing
    seen = responses(x, place, Searched(np.arange(1, 5), np.array([6.0])))[:, -1]
    whole = dict(zip(place.tolist(), x.tolist(), strict=True))
    for row, at in enumerate(place.tolist()):
        expected = sum(np.exp(-(ago - 1) / 6.0) * whole.get(at - ago, 0.0) for ago in range(1, 60))
        assert seen[row] == pytest.approx(expected, abs=1e-3 * np.abs(x).max())


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.6])
def test_permutation_p_equals_projecting_each_series_by_itself(strength):
    rng = np.random.default_rng(12)
    nuisance = trend_basis(50, 3)
    noise = rng.standard_normal((2, 50))
    noise[1, 2:] += strength * noise[0, :-2]
    x, y = (values - nuisance @ np.linalg.lstsq(nuisance, values)[0] for values in noise)
    basis = np.linalg.qr(nuisance)[0]
    pair = LaggedPair.build(x, y, Basis(basis), np.arange(50), Searched(np.arange(6), NO_MEMORIES))
    orders = np.random.default_rng(3).permuted(np.tile(y, (600, 1)), axis=1)
    expected = naive.permutation_p(y, pair.columns, nuisance, 1.0, orders)
    peak = float(np.abs(pair.profile()).max())
    assert permutation_p(pair, peak, 600, np.random.default_rng(3)) == expected


def test_sidak_p_and_the_width_agree_at_the_five_percent_point():
    width = spread_width(389, 13)
    assert sidak_p(width / np.sqrt(389 + width**2), 389, 13) == pytest.approx(0.05, abs=1e-9)
    assert [round(spread_width(m, 13) / np.sqrt(m), 2) for m in (75, 400, 1000)] == [0.34, 0.14, 0.09]
