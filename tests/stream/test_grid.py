import copy
import math
import pickle

import naive_stream
import numpy as np
import pytest
from thermograd.benchmarks.correlation_grid import CorrelationGrid
from thermograd.stream.correlation import RollingCorrelation


def disturbed(rng, ticks, pairs):
    """Coupled noise at the levels of a norm and a clock, with everything that spoils running sums."""
    x, y = rng.normal(1.0, 0.1, (ticks, pairs)), rng.normal(1980.0, 15.0, (ticks, pairs))
    y[3:] += 150.0 * (x[:-3] - 1.0)
    x[100, 0], y[200, 1], x[150, 2], y[170, 3] = 1e12, -1e12, math.nan, math.inf
    x[220:300, 4] = 0.3
    x[330:, 5] += 1e6
    y[:, 6] = 1e6 + 0.01 * y[:, 6]
    return x, y


@pytest.mark.parametrize(("lags", "window"), [(1, 8), (5, 24), (7, 9)])
def test_every_pair_and_lag_agrees_with_the_definition_at_every_tick(lags, window):
    x, y = disturbed(np.random.default_rng(0), 400, 7)
    grid = CorrelationGrid(7, lags, window)
    compared = 0
    for t in range(400):
        grid.update(x[t], y[t])
        found = grid.get()
        for lag in range(lags):
            first = t - window + 1 - lag
            for pair in range(7):
                a, b = x[max(first, 0) : t - lag + 1, pair], y[t - window + 1 : t + 1, pair]
                whole = first >= 0 and np.isfinite(a).all() and np.isfinite(b).all()
                expected = naive_stream.correlation(list(zip(a, b, strict=True))) if whole else None
                if expected is None:
                    assert math.isnan(found[lag, pair])
                else:
                    assert abs(found[lag, pair] - expected) <= 1e-12
                    compared += 1
    assert compared > 300 * lags * 5


def test_equals_one_rolling_correlation_for_each_pair_and_lag():
    x, y = np.random.default_rng(1).normal(size=(2, 300, 3))
    grid = CorrelationGrid(3, 4, 32)
    singles = [[RollingCorrelation(32) for _ in range(3)] for _ in range(4)]
    for t in range(300):
        grid.update(x[t], y[t])
        for lag in range(min(4, t + 1)):
            for pair in range(3):
                singles[lag][pair].update(x[t - lag, pair], y[t, pair])
        expected = [[one.get() for one in row] for row in singles]
        if t >= 40:
            assert np.allclose(grid.get(), np.array(expected, float), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("lags", "window"), [(1, 8), (7, 9), (5, 40)])
def test_many_ticks_at_once_give_what_single_ones_give_bit_for_bit(lags, window):
    x, y = disturbed(np.random.default_rng(4), 400, 7)
    one, many = CorrelationGrid(7, lags, window), CorrelationGrid(7, lags, window)
    first = 0
    for count in (1, 2, 50, 17, 1, 130, 1, 98, 100):
        ticks = slice(first, first + count)
        found = np.empty((count, lags, 7))
        many.follow(x[ticks], y[ticks], found)
        for t, each in zip(range(first, first + count), found, strict=True):
            one.update(x[t], y[t])
            np.testing.assert_array_equal(each, one.get())
        np.testing.assert_array_equal(many.get(), one.get())
        first += count
    assert first == 400


def test_ticks_may_enter_without_being_asked_after_each():
    x, y = disturbed(np.random.default_rng(5), 400, 7)
    always, seldom = CorrelationGrid(7, 5, 24), CorrelationGrid(7, 5, 24)
    for t in range(400):
        for grid in (always, seldom):
            grid.update(x[t], y[t])
        expected = always.get()
        if t % 7 == 0 or t in (18, 19, 20, 350, 351):
            np.testing.assert_array_equal(seldom.get(), expected)
            np.testing.assert_array_equal(seldom.get(), expected)


def test_the_lag_is_how_far_y_is_behind():
    noise = np.random.default_rng(2).normal(size=(200, 1))
    grid = CorrelationGrid(1, 6, 64)
    for t in range(5, 200):
        grid.update(noise[t], noise[t - 2])
    assert int(np.nanargmax(grid.get()[:, 0])) == 2
    assert grid.get()[2, 0] == pytest.approx(1.0)


def test_a_pickle_or_copy_in_mid_stream_goes_on_bit_for_bit():
    x, y = np.random.default_rng(3).normal(size=(2, 200, 4))
    grid = CorrelationGrid(4, 3, 20)
    for t in range(101):
        grid.update(x[t], y[t])
    others = [pickle.loads(pickle.dumps(grid)), copy.deepcopy(grid)]
    for t in range(101, 200):
        grid.update(x[t], y[t])
        for other in others:
            other.update(x[t], y[t])
            assert other.get().tobytes() == grid.get().tobytes()


def test_parameters_out_of_range_are_refused():
    with pytest.raises(ValueError, match="lags=5, window=6"):
        CorrelationGrid(1, 5, 6)
