"""The family's p-values over all draws of a few coins."""

import numpy as np
import pytest
from thermograd.analysis.experiment.family import family_p
from thermograd.analysis.experiment.heat.coins import redrawn_coins


@pytest.mark.parametrize("pairs", [6, 7])
@pytest.mark.parametrize("outcomes", [2, 3])
def test_any_false_effect_of_a_family_is_rare_over_all_draws_of_few_coins(pairs, outcomes):
    rng = np.random.default_rng([pairs, outcomes])
    coins = redrawn_coins(pairs, 0, 0)
    draws = np.abs(coins @ rng.standard_normal((pairs, outcomes))).T  # of every draw, were it the real one
    false = 0
    for real in range(len(coins)):
        others = np.delete(draws, real, axis=1)
        adjusted = family_p(list(draws[:, real]), list(others))
        false += min(adjusted) <= 0.05
    assert len(coins) == 2 ** (pairs - 1)
    assert false / len(coins) <= 0.05
