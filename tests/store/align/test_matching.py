"""Steps and their samples, against the rule in a slow loop."""

import naive
import numpy as np
import pytest
from thermograd.store.align import matching
from thermograd.store.align.matching import asof, interval_mean, nearest

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@pytest.fixture
def small_blocks(monkeypatch):
    """Let a handful of steps span several blocks of the search."""
    monkeypatch.setattr(matching, "_CHUNK", 3)
    monkeypatch.setattr(matching, "_FEW", 2)
    monkeypatch.setattr(matching, "_STEPS_A_BUCKET", 2)


def random_clocks(rng):
    steps = rng.integers(-15, 55, rng.integers(0, 25))
    samples = np.sort(rng.integers(0, 40, rng.integers(0, 25)))
    return steps, samples


def test_tie_goes_to_the_earlier_sample():
    assert nearest([10], [8, 12], 5).tolist() == [0]


def test_same_time_twice_goes_to_the_sample_logged_last():
    assert nearest([10, 10, 10], [9, 9, 9, 30], 5).tolist() == [2, 2, 2]
    assert nearest([10], [1, 11, 11, 11], 5).tolist() == [3]


def test_tolerance_is_inclusive_and_beyond_it_there_is_no_match():
    assert nearest([100, 100], [95], 5).tolist() == [0, 0]
    assert nearest([101, 89, 90], [95], 5).tolist() == [-1, -1, 0]


def test_zero_tolerance_matches_equal_times_only():
    assert nearest([5, 6], [5, 7], 0).tolist() == [0, -1]


def test_one_nanosecond_decides_at_today_s_epoch():
    step = START + 500
    assert nearest([step], [step - 100, step + 99], 1000).tolist() == [1]
    assert nearest([step], [step - 99, step + 99], 1000).tolist() == [0]


def test_times_at_both_ends_of_int64_do_not_overflow():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    assert nearest([high, low], [low, high], 10).tolist() == [1, 0]
    assert nearest([high], [low], high).tolist() == [-1]
    assert asof([high], [low], high).tolist() == [-1]


def test_empty_steps_or_samples_give_no_match():
    assert nearest([], [1, 2], 5).tolist() == []
    assert nearest([1, 2], [], 5).tolist() == [-1, -1]
    assert asof([1], []).tolist() == [-1]
    assert nearest([], [], 5).dtype == np.int64


@pytest.mark.usefixtures("small_blocks")
def test_nearest_equals_the_brute_force_loop_on_many_small_cases():
    rng = np.random.default_rng(7)
    for _ in range(400):
        steps, samples = random_clocks(rng)
        tolerance = int(rng.integers(0, 7))
        expected = naive.nearest(steps, samples, tolerance)
        assert nearest(steps, samples, tolerance).tolist() == expected
        assert nearest(np.sort(steps), samples, tolerance).tolist() == naive.nearest(
            np.sort(steps), samples, tolerance
        )


@pytest.mark.usefixtures("small_blocks")
def test_asof_equals_the_brute_force_loop_on_many_small_cases():
    rng = np.random.default_rng(8)
    for _ in range(300):
        steps, samples = random_clocks(rng)
        for tolerance in (None, int(rng.integers(0, 7))):
            assert asof(steps, samples, tolerance).tolist() == naive.asof(steps, samples, tolerance)


def test_long_clocks_match_as_a_direct_search_does():
    rng = np.random.default_rng(9)
    samples = START + np.cumsum(rng.integers(1, 200, 50_000))
    steps = np.sort(rng.integers(samples[0] - 500, samples[-1] + 500, 20_000))
    distance = np.abs(samples[nearest(steps, samples, 10**6)] - steps)
    right = np.clip(np.searchsorted(samples, steps), 1, samples.size - 1)
    expected = np.minimum(np.abs(samples[right] - steps), np.abs(samples[right - 1] - steps))
    np.testing.assert_array_equal(distance, expected)


def test_descending_samples_are_refused_with_the_place():
    with pytest.raises(ValueError, match=r"index 2 .* is before index 1"):
        nearest([1], [1, 3, 2], 5)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("steps", [[], [5], [0, 2, 3], list(range(-5, 50)), [90, 95, 99] * 4])
def test_samples_that_fall_anywhere_are_refused_with_the_place_of_the_first_fall(steps):
    """Whether or not a step is near: also between the blocks that are searched, and beyond the last."""
    for at in range(1, 40):
        samples = np.arange(40)
        samples[at:] -= 2
        samples[39] -= 5  # where there are two falls, the first is told
        for match in (nearest, asof):
            with pytest.raises(ValueError, match=rf"index {at} .* is before index {at - 1} "):
                match(steps, samples, 5)


def test_float_times_are_refused():
    with pytest.raises(TypeError, match="integer nanoseconds"):
        nearest(np.array([1.5]), [1], 5)


def test_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance_ns is -1"):
        nearest([1], [1], -1)


def test_interval_mean_excludes_its_start_and_includes_its_end():
    assert interval_mean([0], [10], [0, 10], [100.0, 3.0]).tolist() == [3.0]


def test_interval_mean_skips_values_that_are_not_finite():
    values = [1.0, np.nan, np.inf, 3.0]
    assert interval_mean([0], [4], [1, 2, 3, 4], values).tolist() == [2.0]


def test_interval_mean_equals_the_brute_force_loop():
    rng = np.random.default_rng(10)
    for _ in range(200):
        starts, times = random_clocks(rng)
        ends = starts + rng.integers(-2, 12, starts.size)
        values = rng.standard_normal(times.size)
        values[rng.random(times.size) < 0.2] = np.nan
        expected = naive.interval_mean(starts, ends, times, values)
        np.testing.assert_allclose(interval_mean(starts, ends, times, values), expected, rtol=1e-14)


@pytest.mark.parametrize("count", [1, 40, 3_000, 60_000])
def test_many_steps_match_as_single_ones_do_whatever_the_number_of_samples(count):
    """Steps that come together descend in buckets; a few are each searched."""
    rng = np.random.default_rng(count)
    samples = START + np.sort(rng.integers(0, count // 2 + 1, count))
    steps = START + np.sort(rng.integers(-20, count // 2 + 20, 3_000))
    for tolerance in (0, 3, 10**6):
        apart = [nearest(steps[at : at + 500], samples, tolerance) for at in range(0, 3_000, 500)]
        assert nearest(steps, samples, tolerance).tolist() == np.concatenate(apart).tolist()
        shuffled = rng.permutation(3_000)
        assert (nearest(steps[shuffled], samples, tolerance) == np.concatenate(apart)[shuffled]).all()
    assert (asof(steps, samples) == np.searchsorted(samples, steps, side="right") - 1).all()


def test_more_steps_than_a_block_match_as_a_few_at_a_time_do():
    """The buckets of so many are themselves found in buckets, with the roles of the two sides changed."""
    rng = np.random.default_rng(11)
    samples = START + np.sort(rng.integers(0, 60_000, 90_000))  # often two or more at the same time
    steps = START + np.sort(rng.integers(-50, 60_050, 110_000))
    apart = [nearest(steps[at : at + 1000], samples, 1) for at in range(0, steps.size, 1000)]
    assert (nearest(steps, samples, 1) == np.concatenate(apart)).all()
    assert (np.concatenate(apart) == -1).any()
    assert (asof(steps, samples) == np.searchsorted(samples, steps, side="right") - 1).all()
