import math

import naive
import numpy as np
import pytest
from thermograd.analysis.calibration.processes import (
    COUPLINGS,
    NULLS,
    ar,
    burst,
    coincident_kink,
    coll,
    cont,
    driver,
    trend,
)
from thermograd.analysis.coupling.cross_correlation import naive_pearson, residual_cross_correlation
from thermograd.analysis.coupling.power import samples_needed, samples_to_exclude, smallest_detectable
from thermograd.analysis.coupling.resampling import LaggedPair, half_width, permutation_p, sidak_p
from thermograd.analysis.coupling.residuals import full_rank, own_residuals, trend_basis, with_driver_lags
from thermograd.analysis.coupling.swap import session_swap
from thermograd.analysis.coupling.verdict import gates, holm, strength, verdict

SEGMENT_HOLES = 5  # missing bins in a row that still count as no gap


def examined(pair, seed=0, **options):
    return residual_cross_correlation(pair.x, pair.y, pair.drivers, seed=seed, **options)


def rejections(make, m, runs, permutations=199):
    """Count p <= 5 % over seeded runs; 20 of 200 has probability 0.002 at a true rate of 5 %."""
    results = [
        examined(make(np.random.default_rng([m, run]), m), run, permutations=permutations)
        for run in range(runs)
    ]
    return sum(result.p <= 0.05 for result in results)


# False positives and power


@pytest.mark.parametrize("name", ["ar.9", "trend", "kink", "rw", "hetero", "burst"])
def test_uncoupled_runs_of_400_bins_are_rejected_at_most_as_often_as_stated(name):
    assert rejections(NULLS[name], 400, 200) <= 20


@pytest.mark.parametrize("name", ["ar.98", "trend", "heavy", "coll", "driver", "period"])
def test_uncoupled_runs_of_75_bins_are_rejected_at_most_as_often_as_stated(name):
    assert rejections(NULLS[name], 75, 200) <= 20


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


# Lag


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


# Agreement with the slow versions


def test_residuals_equal_the_slow_regression():
    for seed, m in ((0, 90), (1, 300), (2, 700)):
        z = trend(np.random.default_rng(seed), m).x
        cosines = max(2, round(m / 60))
        nuisance = trend_basis(m, cosines)
        fast = own_residuals(z, nuisance, np.arange(m), cosines)
        volatility = trend_basis(m, max(0, cosines // 2 - 1))
        order, slow = naive.residuals(z, nuisance, volatility, min(10, m // 10))
        assert fast.order == order
        assert np.isnan(fast.values[:order]).all()
        np.testing.assert_allclose(fast.values[order:], slow, rtol=1e-7, atol=1e-9)


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


def test_sidak_p_and_half_width_agree_at_the_five_percent_point():
    assert sidak_p(half_width(389, 13), 389, 13) == pytest.approx(0.05, abs=1e-9)
    assert [round(half_width(m - 4 - round(m / 60), 13), 2) for m in (75, 400, 1000)] == [0.34, 0.15, 0.09]


# Bad input


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


def test_full_rank_keeps_the_span():
    base = trend_basis(40, 2)
    extra = np.random.default_rng(33).standard_normal((40, 2))
    kept = full_rank(np.hstack([base, extra, extra @ [[1.0], [2.0]]]), base.shape[1])
    assert kept.shape == (40, 6)
    assert np.linalg.matrix_rank(np.hstack([kept, extra])) == 6


def test_lagged_drivers_start_anew_in_every_segment():
    lagged = with_driver_lags(np.arange(5.0)[:, None], 2, np.array([0, 1, 0, 1, 2]))
    assert lagged[:, 1].tolist() == [0, 0, 2, 2, 3]
    assert lagged[:, 2].tolist() == [0, 0, 2, 2, 2]


# Guard and verdict


def test_one_shared_kink_seldom_passes_the_guard():
    results = [
        examined(coincident_kink(np.random.default_rng(run), 400), permutations=199) for run in range(80)
    ]
    found = [result for result in results if result.p <= 0.05]
    passed = [result for result in found if result.guard_p <= 0.05]
    assert len(found) >= 10
    assert len(passed) <= len(found) // 2
    verdicts = {verdict(result)[0] for result in found if result.guard_p > 0.05}
    assert verdicts == {"single_event"}


def test_one_planted_event_is_called_a_single_event():
    pair = ar(np.random.default_rng(34), 400, 0.3)
    x, y = pair.x.copy(), pair.y.copy()
    x[200] += 25.0
    y[204] += 25.0
    result = residual_cross_correlation(x, y, permutations=199)
    # One value that sits with one other is rare under random orders, but signs flip it half the time.
    assert result.p_permutation < 0.05 < result.p_sign_flip
    assert verdict(result)[0] != "coupled"


def test_true_coupling_passes_the_guard_and_is_never_called_absent():
    for run in range(40):
        result = examined(cont(np.random.default_rng(run), 1000, 0.3, 5), permutations=199)
        assert verdict(result)[0] == "coupled"
        short = examined(cont(np.random.default_rng(run), 400, 0.3, 5), permutations=199)
        assert verdict(short, p_adjusted=0.5)[0] != "no_coupling"


def test_long_uncoupled_runs_end_as_no_coupling():
    names = [verdict(examined(ar(np.random.default_rng(run), 1000), permutations=99))[0] for run in range(60)]
    assert names.count("no_coupling") >= 51


def test_short_uncoupled_runs_are_inconclusive_and_say_how_long_is_long_enough():
    name, reasons = verdict(examined(ar(np.random.default_rng(22), 200)))
    assert name == "inconclusive"
    assert f"its absence from about {samples_to_exclude(0.2)}" in reasons[-1]


def test_correction_for_other_pairs_can_withdraw_support():
    result = examined(cont(np.random.default_rng(35), 400, 0.4, 5))
    assert verdict(result)[0] == "coupled"
    assert verdict(result, p_adjusted=0.2)[0] == "inconclusive"


def test_gates_and_missing_statistics_are_insufficient():
    result = examined(cont(np.random.default_rng(35), 400, 0.4, 5))
    assert verdict(result, gate_reasons=["The device was idle."]) == (
        "insufficient",
        ["The device was idle."],
    )
    constant = residual_cross_correlation(np.random.default_rng(40).standard_normal(100), np.ones(100))
    assert verdict(constant)[0] == "insufficient"
    assert verdict(constant)[1] == ["Y is constant or fully predicted by its trend and drivers."]


def test_gates_pass_an_ordinary_pair():
    pair = trend(np.random.default_rng(36), 200)
    assert gates(pair.x, pair.y) == []


def test_gates_name_short_and_constant_series():
    reasons = gates(np.arange(50.0), np.full(50, 50.0))
    assert reasons[0].startswith("Only 50 bins")
    assert reasons[1] == "The hardware signal is constant at 50."


def test_gates_want_five_rises_of_a_signal_with_two_levels():
    noise = np.random.default_rng(37).standard_normal(100)
    rare, often = np.zeros(100), np.zeros(100)
    rare[[10, 30]] = 1.0
    often[10:90:10] = 1.0
    assert gates(noise, rare) == [
        "The hardware signal has only two levels and 2 rises; at least 5 are needed."
    ]
    assert gates(noise, often) == []


def test_gates_see_a_device_that_did_not_work():
    rng = np.random.default_rng(38)
    x, y = rng.standard_normal((2, 100))
    idle, busy = 27 + rng.standard_normal(60), 250 + 20 * rng.standard_normal(60)
    assert "was idle: its power" in gates(x, y, loads={"power": (idle[:30], idle[30:])})[0]
    assert gates(x, y, loads={"power": (busy, idle), "utilisation": (idle[:30], idle[30:])}) == []
    assert gates(x, y, loads={"power": (idle[:5], idle[5:])}) == []


def test_gates_name_runs_with_the_same_training_series():
    x, y = np.random.default_rng(39).standard_normal((2, 100))
    assert "identical to that of run-2" in gates(x, y, same_training_as=["run-2"])[0]


def test_holm_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.02, 0.03]).tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_leaves_nan_alone_and_does_not_count_it():
    adjusted = holm([float("nan"), 0.02, 0.5])
    assert math.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.04, 0.5])


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@pytest.mark.parametrize(
    ("r", "name"),
    [(0.71, "strong"), (-0.7, "moderate"), (0.3, "moderate"), (-0.29, "weak"), (float("nan"), "null")],
)
def test_strength_names_the_bands(r, name):
    assert strength(r) == name
    assert strength(r, coupled=False) == "null"


def test_smallest_detectable_and_samples_needed_are_inverse():
    for rho in (0.1, 0.2, 0.3, 0.5):
        needed = samples_needed(rho)
        assert smallest_detectable(needed) <= rho < smallest_detectable(needed - 1)
    assert samples_needed(-0.3) == samples_needed(0.3)


def test_smallest_detectable_agrees_with_the_measured_power():
    rho = smallest_detectable(400)
    found = rejections(lambda rng, m: cont(rng, m, rho, 5), 400, 100)
    assert 80 <= found <= 98  # stated 90 %, binomial interval


def test_too_short_a_run_detects_nothing():
    assert math.isnan(smallest_detectable(6))


def test_a_correlation_of_zero_or_one_has_no_needed_length():
    for rho in (0.0, 1.0):
        with pytest.raises(ValueError, match="rho is"):
            samples_needed(rho)


# Several runs


def runs_of(make, seed, count=8, m=83):
    pairs = [make(np.random.default_rng([seed, run]), m) for run in range(count)]
    return [pair.x for pair in pairs], [pair.y for pair in pairs]


def common_kink(rng, m):
    pair = ar(rng, m, 0.5)
    after = np.arange(m) >= m // 2
    return type(pair)(pair.x - 6.0 * after, pair.y - 6.0 * np.roll(after, 3))


def test_kinks_that_all_runs_share_prove_nothing():
    p_values = [session_swap(*runs_of(common_kink, seed), permutations=199).p for seed in range(60)]
    assert sum(p <= 0.05 for p in p_values) <= 9


def test_restlessness_within_each_run_proves_nothing():
    """Exchanging runs alone rejects a quarter of these: a run's own pairing has the largest products."""
    results = [session_swap(*runs_of(NULLS["burst"], seed), permutations=199) for seed in range(60)]
    assert sum(result.p_swap <= 0.05 for result in results) >= 10
    assert sum(result.p <= 0.05 for result in results) <= 9


def test_eight_short_coupled_runs_show_together_what_none_shows_alone():
    make = COUPLINGS["cont .3"]
    results = [session_swap(*runs_of(make, seed), permutations=199) for seed in range(15)]
    assert sum(result.p <= 0.05 for result in results) >= 14
    assert sum(result.lag == 5 for result in results) >= 14
    pooled = np.array([result.r for result in results])
    assert 0.2 < pooled.mean() < 0.35
    assert sum(result.r_low <= 0.3 <= result.r_high for result in results) >= 11


def test_few_runs_are_paired_in_every_way():
    xs, ys = runs_of(COUPLINGS["cont .5"], 3, count=5, m=200)
    assert session_swap(xs, ys, seed=1).p == session_swap(xs, ys, seed=2).p == 1 / 120


def test_a_repeated_training_series_is_no_replication():
    xs, ys = runs_of(COUPLINGS["cont .5"], 4, count=6)
    result = session_swap([xs[0]] * 3 + xs[3:], ys)
    assert math.isnan(result.p)
    assert result.reasons[0] == "Run 1 repeats the training series of run 0 and was left out."
    assert "Only 4 different runs" in result.reasons[-1]


def test_runs_of_different_length_and_a_dead_sensor_are_taken_care_of():
    xs, ys = runs_of(COUPLINGS["cont .5"], 5, count=7, m=200)
    xs[0], ys[0] = xs[0][:150], ys[0][:150]
    ys[6] = np.full(200, 50.0)
    result = session_swap(xs, ys)
    assert result.n_runs == 6
    assert result.p < 0.05
    assert result.reasons == [
        "Run 6 was left out: y is constant or fully predicted by its trend and drivers."
    ]


def test_series_without_partner_are_refused():
    with pytest.raises(ValueError, match="2 series x, 1 y"):
        session_swap([[1.0], [2.0]], [[1.0]])
