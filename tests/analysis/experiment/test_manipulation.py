"""Whether hot blocks were hot."""

import numpy as np
import pytest
from thermograd.analysis.experiment.manipulation import (
    Measured,
    check_manipulations,
    heat_moved,
    moved_devices,
)


def check_manipulation(outcome, values, hot, pair, *, redraws=1999, **known):
    """Return the check of one signal alone."""
    return check_manipulations([Measured(outcome, values, hot, pair, **known)], redraws=redraws)[0]


def samples(rng, pairs, moved, n=30):
    """Return a sensor of whole degrees that slowly answers blocks of n samples, under drift and glitches."""
    first = rng.random(pairs) < 0.5
    hot = np.repeat(np.stack([first, ~first], axis=1).ravel(), n).astype(float)
    level = np.zeros(hot.size)
    for i in range(1, hot.size):
        level[i] = 0.8 * level[i - 1] + 0.2 * moved * hot[i]
    values = np.round(60.0 + level + 0.002 * np.arange(hot.size) + 0.4 * rng.standard_normal(hot.size))
    values[rng.random(hot.size) < 0.02] = 255.0
    values[rng.random(hot.size) < 0.2] = np.nan
    return values, hot, np.repeat(np.arange(pairs), 2 * n)


def test_device_that_got_cooler_passes_with_its_difference():
    found = check_manipulation("temperature_c", *samples(np.random.default_rng(1), 12, 6.0), device="gpu0")
    assert found.passed
    assert found.p < 0.01
    assert found.needed == 2.0
    assert found.device == "gpu0"
    assert found.difference == pytest.approx(6.0, abs=0.7)
    assert found.hot - found.cool == pytest.approx(found.difference)


def test_difference_that_is_sure_but_small_does_not_pass():
    found = check_manipulation("temperature_c", *samples(np.random.default_rng(2), 30, 1.0))
    assert not found.passed
    assert found.p <= 0.05
    assert check_manipulation("temperature_c", *samples(np.random.default_rng(2), 30, 1.0), needed=0.5).passed


def test_difference_of_too_few_pairs_is_not_sure():
    found = check_manipulation("temperature_c", *samples(np.random.default_rng(3), 5, 9.0))
    assert not found.passed
    assert found.p == pytest.approx(2 / 2**5)


def test_share_of_the_mean_is_needed_where_no_unit_says_more():
    values, hot, pair = samples(np.random.default_rng(4), 8, 0.0)
    found = check_manipulation("power_w", 5.0 * values, hot, pair)
    assert found.needed == pytest.approx(0.05 * 300, rel=0.1)
    assert not found.passed


def test_sensor_that_is_missing_or_still_does_not_pass():
    values, hot, pair = samples(np.random.default_rng(5), 8, 5.0)
    missing = check_manipulation("temperature_c", np.full(hot.size, np.nan), hot, pair)
    assert (missing.hot, missing.difference, missing.p, missing.passed) == (None, None, None, False)
    still = check_manipulation("temperature_c", np.full(hot.size, 50.0), hot, pair)
    assert still.difference == 0.0
    assert still.p == 1.0
    assert not still.passed
    half = np.where((pair == 0) & (hot == 1.0), np.nan, values)
    assert check_manipulation("temperature_c", half, hot, pair).passed


def test_rate_of_false_differences_is_what_it_says():
    shown = 0
    for run in range(200):
        rng = np.random.default_rng([6, run])
        shown += check_manipulation("temperature_c", *samples(rng, 8, 0.0, n=8), redraws=0).p <= 0.05
    assert shown <= 20  # of 200 at .05: more in 1 of 500


def test_device_that_is_hotter_in_cool_blocks_does_not_pass():
    values, hot, pair = samples(np.random.default_rng(7), 12, -8.0)
    found = check_manipulation("temperature_c", values, hot, pair)
    assert found.difference < -5.0
    assert found.p < 0.01
    assert not found.passed
    assert check_manipulation("sm_clock_mhz", values, hot, pair).passed  # of a clock either way counts


def test_heat_needs_temperature_or_power_where_a_device_measures_them():
    rng = np.random.default_rng(8)
    still, hot, pair = samples(rng, 12, 0.0)
    busy = 40.0 + 40.0 * hot
    signals = [
        Measured("temperature_c", still, hot, pair, "gpu0"),
        Measured("utilization_pct", busy, hot, pair, "gpu0"),
        Measured("utilization_pct", busy, hot, pair, "cpu"),
    ]
    checks = check_manipulations(signals)
    assert [check.passed for check in checks] == [False, True, True]
    assert heat_moved(checks) == []
    assert moved_devices(checks) == (1, 2)
    assert heat_moved(checks[2:]) == ["utilization_pct"]
    blind = check_manipulations(
        [Measured("temperature_c", np.full(hot.size, np.nan), hot, pair), *signals[2:]]
    )
    assert heat_moved(blind) == ["utilization_pct"]
    warm = check_manipulations(
        [Measured("temperature_c", still + 6.0 * hot, hot, pair, "gpu0"), *signals[1:]]
    )
    assert heat_moved(warm) == ["temperature_c", "utilization_pct"]


def test_any_of_many_devices_rarely_passes_by_chance():
    shown = 0
    for run in range(60):
        rng = np.random.default_rng([9, run])
        drawn = [samples(rng, 8, 0.0, n=6) for _ in range(6)]
        hot, pair = drawn[0][1:]
        signals = [
            Measured("temperature_c", values, hot, pair, f"gpu{at}", needed=0.0)
            for at, (values, *_) in enumerate(drawn)
        ]
        shown += any(check.passed for check in check_manipulations(signals))
    assert shown <= 9  # of 60 at .05, and half of those hot above cool: more in 1 of 1000
