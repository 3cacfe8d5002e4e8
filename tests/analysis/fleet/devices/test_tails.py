"""Tails of distributions are those of scipy.stats to the bit, which nothing here waits for."""

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control
from thermograd.analysis.fleet.devices.excess import _benjamini_yekutieli as benjamini_yekutieli
from thermograd.analysis.fleet.devices.peers import _at_least as at_least


@pytest.mark.parametrize("trials", [1, 2, 19, 99])
@pytest.mark.parametrize("others", [2, 7, 300])
def test_so_many_wins_or_more(trials, others):
    chance = 1 / (others + 1)
    for successes in range(-1, trials + 2):
        assert at_least(successes, trials, chance) == binom.sf(successes - 1, trials, chance)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_rates_of_false_discoveries(count):
    p = np.random.default_rng(count).random(count) ** 3
    assert benjamini_yekutieli(list(p)).tolist() == false_discovery_control(p, method="by").tolist()
