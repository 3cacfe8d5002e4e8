"""False positives, power, lags and bad input of the residual cross-correlation."""

import math

import naive
import numpy as np
import pytest
from rejections import examined, rejections
from thermograd.analysis.calibration.processes import (
    COUPLINGS,
    NULLS,
    ar,
    burst,
    coll,
    cont,
    driver,
    trend,
)
from thermograd.analysis.coupling.cross_correlation import naive_pearson, residual_cross_correlation

SEGMENT_HOLES = 5  # missing bins in a row that still count as no gap


@pytest.mark.parametrize("name", ["ar.9", "trend", "kink", "rw", "hetero", "burst"])
def test_uncoupled_runs_of_400_bins_are_rejected_at_most_as_often_as_stated(name):
    assert rejections(NULLS[name], 400, 40) <= 6  # how often in thousands: benchmarks/CALIBRATION.md


@pytest.mark.parametrize("name", ["ar.98", "trend", "heavy", "coll", "driver", "period"])
def test_uncoupled_runs_of_75_bins_are_rejected_at_most_as_often_as_stated(name):
    assert rejections(NULLS[name], 75, 80) <= 10


def test_the_naive_correlation_calls_nearly_every_shared_trend_strong():
    pairs = [trend(np.random.default_rng(run), 75) for run in range(100)]
    assert sum(abs(naive_pearson(pair.x, pair.y)) > 0.3 for pair in pairs) >= 95


def test_a_correlation_of_three_tenths_is_found_in_nearly_every_run():
    found = rejections(COUPLINGS["cont .3"], 400, 60)
    assert found >= 57


def test_a_correlation_of_two_tenths_is_found_in_most_runs():
    assert rejections(COUPLINGS["cont .2"], 400, 100) >= 65


def test_coupling_is_found_under_opposite_trends_and_a_coarse_sensor():
    assert rejections(COUPLINGS["cont_trend .3"], 400, 60) >= 51


def test_coupling_is_found_on_top_of_a_known_driver():
    assert rejections(COUPLINGS["driver+c .3"], 400, 60) >= 54


def test_an_unknown_common_driver_is_mistaken_for_coupling():
    """The limit of the method: what is not given as a driver cannot be taken out."""
    pairs = [driver(np.random.default_rng(run), 400) for run in range(40)]
    assert sum(residual_cross_correlation(pair.x, pair.y).p <= 0.05 for pair in pairs) >= 20


def test_shared_restlessness_needs_the_sign_flips():
    results = [examined(burst(np.random.default_rng(run), 400, 8.0), permutations=199) for run in range(60)]
    resampled = [result for result in results if result.p_permutation is not None]
    assert sum(max(result.p_sidak, result.p_permutation) <= 0.05 for result in resampled) >= 12
    assert sum(result.p <= 0.05 for result in results) <= 8


def test_lag_is_positive_where_x_leads_and_its_value_is_recovered():
    results = [examined(cont(np.random.default_rng(run), 400, 0.5, 7), permutations=0) for run in range(40)]
    assert sum(result.lag == 7 for result in results) >= 38
    assert all(result.r > 0 for result in results)


def test_reverse_family_finds_the_hardware_that_leads():
    pair = cont(np.random.default_rng(4), 400, 0.5, 6)
    result = residual_cross_correlation(pair.y, pair.x, family="reverse")
    assert (result.lag, result.p < 0.01) == (-6, True)
    assert residual_cross_correlation(pair.y, pair.x, family="forward").p > 0.05


@pytest.mark.parametrize(
    ("family", "first", "last"),
    [(None, 0, 12), ("forward", 1, 12), ("simultaneous", 0, 0), ("reverse", -12, -1)],
)
def test_every_family_searches_its_own_lags(family, first, last):
    result = examined(ar(np.random.default_rng(5), 120), family=family)
    assert (result.family[0], result.family[-1]) == (first, last)
    inside = (result.lags >= first) & (result.lags <= last)
    assert abs(result.r) == pytest.approx(np.abs(result.profile[inside]).max(), abs=1e-12)
    assert result.profile[result.lags == result.lag][0] == pytest.approx(result.r, abs=1e-12)


def test_a_negative_association_keeps_its_sign():
    pair = cont(np.random.default_rng(6), 400, 0.6, 3)
    assert residual_cross_correlation(pair.x, -pair.y).r < -0.4


def test_naive_pearson_equals_numpy_and_the_exact_sums():
    rng = np.random.default_rng(13)
    for offset in (0.0, 1e6):
        x, y = rng.standard_normal((2, 200)) + offset
        assert naive_pearson(x, y) == pytest.approx(
            np.corrcoef(x, y)[0, 1], abs=1e-12 if not offset else 1e-9
        )
        assert naive_pearson(x, y) == pytest.approx(naive.pearson(x, y), abs=1e-12 if not offset else 1e-9)


def test_naive_pearson_skips_pairs_that_are_not_finite():
    x = np.array([1.0, np.nan, 3.0, 4.0, 9.0])
    y = np.array([2.0, 5.0, 1.0, np.inf, 4.0])
    assert naive_pearson(x, y) == pytest.approx(naive.pearson([1, 3, 9], [2, 1, 4]), abs=1e-12)


def test_naive_pearson_of_a_constant_or_two_pairs_is_nan():
    assert math.isnan(naive_pearson([1, 1, 1, 1], [1, 2, 3, 4]))
    assert math.isnan(naive_pearson([1, 2], [1, 2]))
    assert math.isnan(naive_pearson([], []))


def test_the_same_seed_gives_the_same_p_and_another_seed_another():
    pair = cont(np.random.default_rng(20), 300, 0.2, 4)
    p_values = [examined(pair, seed).p_permutation for seed in (1, 1, 2)]
    assert p_values[0] == p_values[1]
    assert p_values[0] is not None


def test_resampling_is_left_out_where_it_could_change_nothing():
    result = examined(ar(np.random.default_rng(2), 200))
    assert result.p_sidak > 0.1
    assert (result.p_permutation, result.p_sign_flip, result.guard_p) == (None, None, None)
    assert result.p == result.p_sidak


def test_a_flag_is_tested_without_sign_flips():
    pair = coll(np.random.default_rng(23), 400)
    flag = np.roll(pair.x > np.quantile(pair.x, 0.9), 3).astype(float)
    result = residual_cross_correlation(pair.x, flag)
    assert result.p_permutation is not None
    assert result.p_sign_flip is None


@pytest.mark.parametrize("broken", ["x", "y"])
def test_a_constant_series_has_a_reason_instead_of_a_p(broken):
    series = dict(zip("xy", np.random.default_rng(24).standard_normal((2, 100)), strict=True))
    series[broken] = np.full(100, 50.0)
    result = residual_cross_correlation(**series)
    assert math.isnan(result.p)
    assert math.isnan(result.r)
    assert result.reason.startswith(f"{broken} is constant")


def test_a_straight_line_leaves_nothing_to_correlate():
    noise = np.random.default_rng(25).standard_normal(100)
    assert "fully predicted" in residual_cross_correlation(np.arange(100.0), noise).reason


@pytest.mark.parametrize("length", [0, 1, 5, 25])
def test_a_short_series_has_a_reason_instead_of_a_p(length):
    result = residual_cross_correlation(np.arange(float(length)), np.arange(float(length)) ** 2)
    assert "too short" in result.reason
    assert math.isnan(result.p)
    assert result.residual_x.shape == (length,)


def test_too_many_drivers_for_the_length_are_a_reason():
    x, y = np.random.default_rng(26).standard_normal((2, 80))
    drivers = np.random.default_rng(27).standard_normal((80, 20))
    assert "trend and driver columns" in residual_cross_correlation(x, y, drivers).reason


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"x has shape \(3,\) and y \(4,\)"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"drivers has shape \(2, 1\)"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="ascending"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3], segments=[1, 0, 0])
    with pytest.raises(ValueError, match="'sideways'; expected one of None, 'forward'"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3], family="sideways")
    with pytest.raises(ValueError, match="max_lag is 0"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3], max_lag=0, family="forward")
    with pytest.raises(ValueError, match=r"max_lag is 1\.5; expected a whole number"):
        residual_cross_correlation([1, 2, 3], [1, 2, 3], max_lag=1.5)
    for memory in (0.0, -5.0):
        with pytest.raises(ValueError, match="more than 0 each"):
            residual_cross_correlation([1, 2, 3], [1, 2, 3], memories=[10.0, memory])


def test_missing_values_are_left_out_and_counted():
    pair = cont(np.random.default_rng(28), 400, 0.5, 5)
    x, y = pair.x.copy(), pair.y.copy()
    x[50], y[[120, 121]] = np.nan, np.inf
    result = residual_cross_correlation(x, y)
    assert result.n_dropped == {"bins without a finite value": 3}
    assert np.isnan(result.residual_x[[50, 120, 121]]).all()
    assert (result.lag, result.p < 0.01) == (5, True)


def test_a_long_hole_splits_the_series_and_a_short_one_does_not():
    pair = ar(np.random.default_rng(29), 200)
    for missing, lost in ((SEGMENT_HOLES, 1), (SEGMENT_HOLES + 1, 2)):
        x = pair.x.copy()
        x[100 : 100 + missing] = np.nan
        result = residual_cross_correlation(x, pair.y)
        order = max(result.order_x, result.order_y)
        assert order > 0
        assert result.n == 200 - missing - lost * order


def test_values_are_never_paired_across_a_hole():
    pair = cont(np.random.default_rng(30), 400, 0.6, 5)
    segments = np.repeat([3, 8], 200)
    result = residual_cross_correlation(pair.x, pair.y, segments=segments)
    moved = pair.y.copy()
    moved[200:] += 40.0  # another level after the hole is no association either
    shifted = residual_cross_correlation(pair.x, moved, segments=segments)
    assert result.lag == 5
    assert shifted.r == pytest.approx(result.r, abs=1e-9)


def test_scale_and_offset_of_the_series_do_not_matter():
    pair = cont(np.random.default_rng(31), 300, 0.3, 5)
    plain = residual_cross_correlation(pair.x, pair.y)
    scaled = residual_cross_correlation(1e-3 * pair.x - 5.0, 1e4 * pair.y + 60.0)
    assert scaled.r == pytest.approx(plain.r, abs=1e-9)
    assert scaled.p == plain.p


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e300])
def test_very_small_and_very_large_units_are_no_obstacle(unit):
    pair = driver(np.random.default_rng(41), 200)
    plain = residual_cross_correlation(pair.x, pair.y, pair.drivers)
    scaled = residual_cross_correlation(pair.x * unit, pair.y * unit, pair.drivers * unit)
    assert scaled.r == pytest.approx(plain.r, abs=1e-6)
    assert naive_pearson(pair.x * unit, pair.y) == pytest.approx(naive_pearson(pair.x, pair.y), abs=1e-9)


def test_repeated_and_constant_drivers_change_nothing():
    pair = driver(np.random.default_rng(32), 300)
    more = np.column_stack([pair.drivers, 2.0 * pair.drivers + 1.0, np.full(300, 7.0)])
    plain, crowded = (residual_cross_correlation(pair.x, pair.y, columns) for columns in (pair.drivers, more))
    assert crowded.df == plain.df
    assert crowded.r == pytest.approx(plain.r, abs=1e-6)
