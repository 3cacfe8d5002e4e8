"""A slow rank is named within a minute; ranks that are alike, share their time or have memory are not."""

import random

import numpy as np
import pytest
from thermograd.stream.slow_rank import SlowRanks

STEP_S = 0.5


def step_times(seed, ranks=64, seconds=150, memory=0.0, noise=0.03):
    """Return when each step ends and how long each rank worked: noise with memory, and ranks 1 % apart."""
    rng = np.random.default_rng(seed)
    count = int(seconds / STEP_S)
    deviations = rng.normal(size=(count, ranks))
    for row in range(1, count):
        deviations[row] = memory * deviations[row - 1] + (1 - memory**2) ** 0.5 * deviations[row]
    own = noise * deviations + 0.01 * rng.normal(size=ranks)
    times = STEP_S * np.exp(own + 0.05 * rng.normal(size=(count, 1)))
    return np.cumsum(times.max(axis=1)), times


def found(ends_s, times, **parameters):
    slow = SlowRanks(**parameters)
    rows = zip(ends_s, times.tolist(), strict=True)
    told = [s for end_s, row in rows for r, t in enumerate(row) for s in slow.update(r, int(end_s * 1e9), t)]
    return told + slow.close()


@pytest.mark.parametrize("ranks", [8, 64])
def test_a_rank_that_is_a_tenth_slower_is_found_within_60_s_and_no_other(ranks):
    for seed in range(3):
        ends_s, times = step_times(seed, ranks)
        times[ends_s > 60, seed] *= 1.1
        (slow,) = found(ends_s, times)
        assert slow.rank == seed
        assert slow.time_ns / 1e9 - 60 <= 60
        assert abs(slow.since_ns / 1e9 - 60) <= 10
        assert 1.05 < slow.ratio < 1.15


def test_a_whole_host_of_eight_ranks_that_is_slow_is_found():
    ends_s, times = step_times(1)
    times[:, 8:16] *= 1.1
    assert {slow.rank for slow in found(ends_s, times)} == set(range(8, 16))


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_ranks_that_are_alike_are_not_told(memory):
    assert not [slow for seed in range(2) for slow in found(*step_times(seed, 16, 900, memory))]


def test_times_that_the_collective_has_made_equal_name_nobody():
    ends_s, times = step_times(0, 8)
    times[:, 3] *= 1.5
    shared = np.repeat(times.max(axis=1, keepdims=True), 8, axis=1)
    assert found(ends_s, shared) == []


def test_a_rank_that_was_slow_for_ten_seconds_is_not_told():
    ends_s, times = step_times(2, 16)
    times[(ends_s > 60) & (ends_s < 70), 5] *= 2
    assert found(ends_s, times) == []


def test_the_order_in_which_ranks_deliver_changes_nothing():
    ends_s, times = step_times(3, 8)
    times[ends_s > 30, 4] *= 1.1
    rows = [
        (r, int(e * 1e9), t) for e, row in zip(ends_s, times.tolist(), strict=True) for r, t in enumerate(row)
    ]
    shuffled, rng = [], random.Random(0)
    for begin in range(0, len(rows), 16):  # two steps: one second
        part = rows[begin : begin + 16]
        rng.shuffle(part)
        shuffled += part
    one, other = SlowRanks(), SlowRanks()
    in_order = [slow for row in rows for slow in one.update(*row)] + one.close()
    assert in_order == [slow for row in shuffled for slow in other.update(*row)] + other.close()
    assert in_order
    assert other.late == 0


def test_what_is_too_late_or_no_time_is_left_out():
    slow = SlowRanks()
    for time_s in range(20):
        for rank in range(3):
            slow.update(rank, time_s * 10**9, 1.0)
    slow.update(0, 0, 1.0)
    assert slow.late == 1
    for work_s in (None, float("nan"), float("inf"), 0.0, -1.0):
        assert slow.update(0, 10**12, work_s) == []


def test_it_is_told_again_only_after_it_has_been_fast():
    ends_s, times = step_times(4, 8, 600)
    times[(ends_s > 60) & (ends_s < 200), 2] *= 1.2
    times[ends_s > 400, 2] *= 1.2
    assert [slow.rank for slow in found(ends_s, times)] == [2, 2]


def test_parameters_that_cannot_be_are_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="expected 0 <= tolerance < 1"):
        SlowRanks(tolerance=-0.1)
