import random

import pytest
from river import stats, utils
from thermograd.stream.spike import RollingVariance


@pytest.mark.parametrize("window", [2, 3, 128])
def test_every_bit_is_that_of_river(window):
    """River's recurrence is what the recorded definitions of spikes rest on."""
    rng = random.Random(window)
    ours, rivers = RollingVariance(window), utils.Rolling(stats.Var, window_size=window, ddof=1)
    for _ in range(2000):
        x = rng.gauss(1.0, 0.1) * rng.choice([1.0, 1.0, 1.0, 1e3, 1e-6, 1e9])
        ours.update(x)
        rivers.update(x)
        assert (ours.mean, ours.variance) == (rivers.obj.mean.get(), rivers.obj.get())


def test_the_values_are_the_last_ones():
    rolling = RollingVariance(3)
    for x in range(5):
        rolling.update(float(x))
    assert list(rolling.values) == [2.0, 3.0, 4.0]


def test_nothing_and_one_value_do_not_vary():
    rolling = RollingVariance()
    assert (rolling.mean, rolling.variance) == (0.0, 0.0)
    rolling.update(7.0)
    assert (rolling.mean, rolling.variance) == (7.0, 0.0)
