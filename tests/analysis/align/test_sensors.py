"""Sensors that hold, average or round, recognised from their readings, and those that do not, left alone."""

import numpy as np
import pytest
from thermograd.analysis.align.sensed_grid import sensed_grid
from thermograd.analysis.align.sensors import averaged_over, fineness, held
from thermograd.analysis.calibration.processes import NULLS

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def remembering(rng, n, phi):
    noise, values = rng.standard_normal(n), np.zeros(n)
    for t in range(1, n):
        values[t] = phi * values[t - 1] + noise[t]
    return values


def sampled(update_s, every_s, n, values, rng):
    """Read a sensor that is refreshed by its own clock; jitter of 2 ms."""
    at = np.arange(n) * every_s + 0.002 * rng.standard_normal(n)
    number = np.floor((at + 0.41 * update_s) / update_s).astype(int)
    return START + np.round(at * SECOND).astype(np.int64), values[number - number[0]], number


def degrees(rng, n):
    return np.round(60 + 1.5 * remembering(rng, n, 0.8))


@pytest.mark.parametrize(
    ("update_s", "every_s"), [(4.0, 1.0), (5.3, 1.0), (1.0, 0.1), (1.003, 0.1), (2.5, 1.0), (30.0, 1.0)]
)
@pytest.mark.parametrize("make", [remembering, degrees])
def test_a_sensor_that_holds_is_known_by_its_changes_and_each_update_counts_once(update_s, every_s, make):
    rng = np.random.default_rng(round(10 * update_s))
    n = round(max(800, 100 * update_s / every_s))
    values = make(rng, n, 0.7) if make is remembering else make(rng, n)
    times, shown, number = sampled(update_s, every_s, n, values, rng)
    found = held(times, shown)
    assert found is not None
    assert found.period_s == pytest.approx(update_s, rel=0.01)
    updates = np.unique(number)
    assert abs(int(found.first.sum()) - updates.size) <= 1
    assert np.isin(number[found.first], updates).all()
    assert np.unique(number[found.first][1:]).size == found.first.sum() - 1  # none twice
    late = (times[found.first] - START) / SECOND % update_s - 0.59 * update_s
    assert (np.mod(late[1:] + update_s / 2, update_s) - update_s / 2).max() < 2.5 * every_s


def test_values_that_merely_do_not_change_are_not_taken_for_held():
    times = START + np.arange(1500) * SECOND
    found = 0
    for name, make in NULLS.items():
        for run in range(4):
            y = make(np.random.default_rng([run, len(name)]), 1500).y
            finest = y[np.isfinite(y)].std()
            found += sum(
                held(times, shown) is not None
                for shown in (y, np.round(y / finest), np.round(2 * y / finest))
            )
    assert found == 0


def test_a_steady_rise_and_a_tick_are_not_taken_for_held():
    times = START + np.arange(900) * SECOND
    assert held(times, np.floor(0.25 * np.arange(900))) is None  # one degree every 4 s
    ticking = 100.0 - 5.0 * (np.arange(900) % 20 == 7)
    assert held(times, ticking) is None
    assert held(times, np.full(900, 50.0)) is None
    assert held(times[:3], np.array([1.0, 2.0, 3.0])) is None
    assert held(times, np.full(900, np.nan)) is None
    wrong = np.append(np.int64(0), times[:-1])  # one sample of 1970
    assert held(wrong, np.repeat(np.arange(225.0) % 7, 4)) is None


def rolling(noise, window):
    return np.convolve(noise, np.ones(window) / window, mode="valid")


@pytest.mark.parametrize("window", [5, 8, 20, 40])
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_a_running_mean_is_known_by_its_window(window, phi):
    rng = np.random.default_rng([window, round(10 * phi)])
    shown = rolling(remembering(rng, 1500, phi), window) + 0.1 / window * rng.standard_normal(1501 - window)
    assert averaged_over(shown) == window
    shown[::17] = np.nan
    assert averaged_over(shown) == window


def test_means_of_means_are_known_by_their_whole_window():
    for seed in range(5):
        noise = np.random.default_rng(seed).standard_normal(1518)
        assert averaged_over(rolling(rolling(noise, 10), 10)) == pytest.approx(20, abs=2)


def test_memory_rhythm_and_noise_are_not_taken_for_running_means():
    found = 0
    for name, make in NULLS.items():
        for run in range(20):
            pair = make(np.random.default_rng([run, len(name), 1]), (400, 1500)[run % 2])
            found += sum(averaged_over(values) is not None for values in (pair.x, pair.y))
    assert found <= 4  # of 480
    waves = np.sin(np.arange(1500) / 6.0) + 0.2 * np.random.default_rng(2).standard_normal(1500)
    assert averaged_over(waves) is None
    assert averaged_over(np.zeros(1500)) is None
    assert averaged_over(np.full(1500, np.nan)) is None
    assert averaged_over([1.0, 2.0]) is None


def test_a_grid_counts_a_held_sensor_by_its_updates_and_says_so():
    rng = np.random.default_rng(3)
    times, shown, _ = sampled(5.0, 1.0, 1500, remembering(rng, 1500, 0.5), rng)
    steps = START + np.arange(3600) * (SECOND * 5 // 12)
    grid = sensed_grid((steps, rng.standard_normal(3600)), (times, shown))
    assert grid.period_s == pytest.approx(5.0, abs=0.05)
    assert 290 <= grid.x.size <= 300
    assert (np.diff(grid.y) != 0).all()
    assert grid.notes == ["The sensor shows a new value every 5 s only: its repeats are left out."]


def test_two_running_means_are_compared_in_longer_bins_and_one_is_said():
    rng = np.random.default_rng(4)
    times = START + np.arange(1500) * SECOND
    means = [rolling(rng.standard_normal(1519), 20) for _ in range(2)]
    both = sensed_grid((times, means[0]), (times, means[1]))
    assert both.period_s == 5.0
    assert len(both.notes) == 2
    assert "mean over about 20 s" in both.notes[0]
    assert "bins of 5 s" in both.notes[1]
    one = sensed_grid((times, rng.standard_normal(1500)), (times, means[1]))
    assert one.period_s == 1.0
    assert one.notes == [
        "The hardware signal looks like a mean over about 20 s: its lags are known to no better than that."
    ]


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_rounding_is_the_share_of_the_innovations_that_it_adds(step):
    heat = 60 + np.cumsum(np.random.default_rng(5).normal(0, 0.4, 6000))
    found = fineness(np.round(heat / step) * step)
    assert found.resolution == step
    # The variance of what is new in a walk with steps of variance q, seen through noise of variance r.
    added, new = step**2 / 12, 0.16
    whole = new / 2 + np.sqrt(new**2 / 4 + new * added) + added
    assert found.rounding == pytest.approx(added / whole, rel=0.2)
    assert found.kept == pytest.approx(np.sqrt(1 - found.rounding))


def test_noise_of_a_sensor_is_at_most_what_goes_and_comes_back():
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(0, 0.3, 6000))
    assert fineness(walk).noise < 0.1
    assert fineness(walk + rng.standard_normal(6000)).noise > 0.6
    nothing = fineness(np.full(50, 50.0))
    assert np.isnan(nothing.resolution)
    assert (nothing.rounding, nothing.noise) == (0.0, 0.0)
    assert np.isnan(fineness([]).resolution)
    assert fineness([1.0, np.nan, 3.0]).resolution == 2.0
