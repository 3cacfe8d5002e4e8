"""Percentiles among other devices: their intervals cover as stated, little is called unusual by chance."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from thermograd.analysis.fleet.population.standing import medians, ordinal, others_needed, standing, unusual


def test_the_interval_is_that_of_an_exact_binomial_test():
    found = standing(0.49, np.arange(40.0) / 40)
    exact = binomtest(20, 40).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert found.percentile == 50


@pytest.mark.parametrize("others", [5, 20, 200])
@pytest.mark.parametrize("value", [-2.0, -0.5, 0.0, 1.3])
def test_intervals_cover_the_share_of_the_population_in_at_least_95_of_100(others, value):
    rng = np.random.default_rng(others)
    true = 100 * norm.cdf(value)
    found = [standing(value, rng.standard_normal(others)) for _ in range(400)]
    covered = np.mean([each.low <= true <= each.high for each in found])
    assert covered >= 0.93  # 0.95 less two standard errors of 400


def test_devices_like_the_others_are_rarely_called_unusual():
    """Over 8 devices and 5 metrics of a run, at most 5 in 100 runs say anything is unusual."""
    rng = np.random.default_rng(1)
    said = 0
    for _ in range(100):
        population = rng.standard_normal((5, 1808))
        p = [standing(row[k], np.delete(row, k)).p for row in population for k in range(8)]
        said += any(unusual(p)[0])
    assert said <= 100 * 0.05 + 2 * np.sqrt(100 * 0.05 * 0.95)


def test_a_device_outside_all_others_is_unusual_as_soon_as_there_are_enough():
    needed = others_needed(10)
    p = [0.5] * 9
    assert unusual([*p, standing(9.0, np.arange(needed) / needed).p])[0][-1]
    assert not unusual([*p, standing(9.0, np.arange(needed - 2) / needed).p])[0][-1]


def test_ties_are_no_evidence():
    """Sensors of whole degrees: a device that reads as all others do is in the middle, with all in doubt."""
    found = standing(60.0, np.full(30, 60.0))
    assert (found.percentile, found.low, found.high, found.p) == (50.0, 0.0, 100.0, 1.0)


def test_a_device_has_the_median_of_its_runs():
    rng = np.random.default_rng(0)
    values, identity = rng.standard_normal(60), [str(each) for each in rng.integers(0, 9, 60)]
    slow = {
        name: np.median([v for v, i in zip(values, identity, strict=True) if i == name]) for name in identity
    }
    assert medians(values, identity) == pytest.approx(slow)


def test_percentiles_are_said_as_people_say_them():
    assert [ordinal(p) for p in (3.0, 11.0, 13.0, 21.4, 99.4)] == [
        "3rd",
        "11th",
        "13th",
        "21st",
        "above the 99th",
    ]
