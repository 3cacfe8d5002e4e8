"""Two series on one causal clock: whose clock, holes, what is dropped."""

import numpy as np
from thermograd.analysis.align import causal_grid

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def at(*seconds):
    return np.array([START + round(second * SECOND) for second in seconds], dtype=np.int64)


def clock(first, last, period):
    return (
        START + np.arange(round((last - first) / period) + 1) * round(period * SECOND) + round(first * SECOND)
    )


def test_fast_steps_are_averaged_onto_the_sample_clock():
    steps, samples = clock(0.25, 60, 0.25), clock(0, 60, 1)
    grid = causal_grid(steps, np.arange(steps.size, dtype=float), samples, np.arange(61.0))
    assert grid.clock == "samples"
    assert grid.period_s == 1.0
    assert grid.y[:3].tolist() == [1.0, 2.0, 3.0]
    assert grid.x[:2].tolist() == [1.5, 5.5]  # steps at .25-1 and 1.25-2 s are numbers 0-3 and 4-7
    assert grid.n_dropped == {"intervals outside the time of the steps": 1}


def test_grid_never_uses_the_future():
    steps, samples = clock(0.25, 100, 0.25), clock(0, 100, 1)
    loss, heat = np.random.default_rng(1).standard_normal((2, 500))
    loss, heat = loss[: steps.size], heat[: samples.size]
    before = causal_grid(steps, loss, samples, heat)
    loss[steps > START + 50 * SECOND] += 100.0
    heat[samples > START + 50 * SECOND] += 100.0
    after = causal_grid(steps, loss, samples, heat)
    past = before.time_ns <= START + 50 * SECOND
    np.testing.assert_array_equal(after.x[past], before.x[past])
    np.testing.assert_array_equal(after.y[past], before.y[past])


def test_slow_steps_set_the_clock_and_samples_are_averaged_over_the_step():
    steps, samples = clock(0, 200, 2), clock(0, 200, 0.5)
    grid = causal_grid(steps, np.arange(101.0), samples, np.arange(401.0))
    assert grid.clock == "steps"
    assert grid.period_s == 2.0
    at_four = int(np.flatnonzero(grid.time_ns == START + 4 * SECOND)[0])
    assert grid.x[at_four] == 2.0
    assert grid.y[at_four] == np.mean([5.0, 6.0, 7.0, 8.0])  # samples at 2.5, 3, 3.5 and 4 s


def test_two_fast_clocks_are_averaged_over_bins_of_one_second():
    steps, samples = clock(0, 60, 0.2), clock(0, 60, 0.2)
    grid = causal_grid(steps, np.arange(301.0), samples, 2.0 * np.arange(301))
    assert grid.clock == "bins"
    np.testing.assert_array_equal(np.diff(grid.time_ns), SECOND)
    np.testing.assert_array_equal(grid.y, 2.0 * grid.x)
    assert grid.x[0] == np.mean([1, 2, 3, 4, 5])


def test_one_wrong_time_stamp_does_not_fill_decades_with_bins():
    fast = np.append(0, clock(0, 60, 0.2))
    grid = causal_grid(fast, np.arange(302.0), fast, np.arange(302.0))
    assert (grid.clock, grid.x.size) == ("bins", 61)


def test_a_finer_grid_must_be_asked_for():
    fast = clock(0, 60, 0.2)
    assert causal_grid(fast, np.arange(301.0), fast, np.arange(301.0), min_period_s=0.2).period_s == 0.2


def test_a_jittering_one_hertz_clock_is_used_as_it_is():
    samples = clock(0, 99, 1) + np.random.default_rng(2).integers(-20_000_000, 10_000_000, 100)
    steps = clock(0, 99, 0.4)
    grid = causal_grid(steps, np.zeros(steps.size), samples, np.arange(100.0))
    assert grid.clock == "samples"
    assert set(grid.time_ns) <= set(samples)


def test_a_long_hole_begins_a_new_segment_and_is_not_averaged_over():
    samples = clock(0, 200, 1)
    steps = np.concatenate([clock(0.5, 80, 0.5), clock(120.5, 200, 0.5)])
    grid = causal_grid(steps, np.arange(steps.size, dtype=float), samples, np.zeros(201))
    assert np.unique(grid.segment).tolist() == [0, 1]
    assert int((grid.segment == 0).sum()) == 80
    assert grid.n_dropped["intervals without a step"] == 40
    hole_in_samples = causal_grid(
        clock(0, 200, 0.5), np.arange(401.0), np.delete(samples, np.s_[80:120]), np.zeros(161)
    )
    first = hole_in_samples.segment.searchsorted(1)
    assert hole_in_samples.time_ns[first] == START + 120 * SECOND
    assert hole_in_samples.x[first] == np.mean([239.0, 240.0])  # steps at 119.5 and 120 s only


def test_short_stretches_are_dropped_and_counted():
    steps = np.concatenate([clock(0.5, 100, 0.5), clock(120.5, 130, 0.5), clock(150.5, 250, 0.5)])
    samples = clock(0, 250, 1)
    grid = causal_grid(steps, np.zeros(steps.size), samples, np.zeros(251))
    assert grid.n_dropped["intervals in a stretch of fewer than 30 between gaps"] == 10
    assert np.bincount(grid.segment).tolist() == [100, 100]


def test_what_is_dropped_is_counted_by_reason():
    steps, samples = clock(0, 100, 0.5), clock(0, 100, 1)
    loss, heat = np.zeros(steps.size), np.zeros(samples.size)
    loss[[3, 5]] = np.nan, np.inf
    heat[50] = np.nan
    grid = causal_grid(steps, loss, np.append(samples, samples[-1]), np.append(heat, 9.0))
    assert grid.n_dropped["steps without a finite value"] == 2
    assert grid.n_dropped["samples without a finite value"] == 1
    assert grid.n_dropped["samples repeated at the same time"] == 1
    assert grid.y[-1] == 9.0


def test_order_of_the_log_does_not_matter():
    rng = np.random.default_rng(3)
    steps, samples = clock(0, 100, 0.3), clock(0, 100, 1)
    loss, heat = rng.standard_normal(steps.size), rng.standard_normal(samples.size)
    mixed, other = rng.permutation(steps.size), rng.permutation(samples.size)
    straight = causal_grid(steps, loss, samples, heat)
    shuffled = causal_grid(steps[mixed], loss[mixed], samples[other], heat[other])
    np.testing.assert_array_equal(straight.x, shuffled.x)
    np.testing.assert_array_equal(straight.y, shuffled.y)


def test_logs_that_do_not_overlap_give_an_empty_grid_that_says_why():
    steps, samples = clock(0, 60, 1), clock(1000, 1060, 1)
    grid = causal_grid(steps, np.zeros(61), samples, np.zeros(61))
    assert grid.x.size == 0
    assert grid.n_dropped["intervals outside the time of the steps"] == 61
    early, late = clock(0, 60, 0.2), clock(1000, 1060, 0.2)
    assert causal_grid(early, np.zeros(301), late, np.zeros(301)).x.size == 0
    assert causal_grid(at(), [], at(), []).x.size == 0
    later = uneven(90, 1.3, 14) + 10_000 * SECOND
    assert causal_grid(uneven(90, 1.3, 14), np.zeros(90), later, np.zeros(90)).x.size == 0


def test_bins_are_numbered_in_time_so_that_a_missing_one_is_a_jump():
    samples = np.delete(clock(0, 200, 1), [40, 41, 90])
    grid = causal_grid(clock(0, 200, 0.5), np.arange(401.0), samples, np.arange(198.0))
    assert np.array_equal(grid.bin, (grid.time_ns - grid.time_ns[0]) // SECOND)
    assert np.unique(grid.segment).tolist() == [0]
    hole = causal_grid(
        clock(0, 300, 0.5), np.arange(601.0), np.delete(clock(0, 300, 1), np.s_[80:200]), np.zeros(181)
    )
    assert np.diff(hole.bin).max() == 121
    assert np.diff(hole.place).max() == 6  # no array is as long as the hole
    assert np.isnan(hole.laid_out(hole.x)).sum() == 5
    in_segments = np.bincount(hole.segment)
    assert np.bincount(hole.laid_out_segments()).tolist() == [in_segments[0] + 5, in_segments[1]]


def test_a_jittering_clock_with_missed_beats_keeps_its_numbers_in_time():
    rng = np.random.default_rng(5)
    kept = np.sort(rng.permutation(600)[:510])  # 15 % are missing
    samples = clock(0, 599, 1)[kept] + rng.integers(-80_000_000, 80_000_000, kept.size)
    grid = causal_grid(clock(0, 599, 0.4), np.zeros(1499), samples, np.zeros(kept.size))
    assert grid.clock == "samples"
    assert np.abs(grid.bin - (grid.time_ns - grid.time_ns[0]) / SECOND).max() < 0.5


def uneven(rows, median, seed):
    """Ends of steps of .3 to 5 s whose lengths vary by .6 of their mean."""
    rng = np.random.default_rng(seed)
    return at(*np.cumsum(np.clip(median * np.exp(0.555 * rng.standard_normal(rows)), 0.3, 5)))


def test_uneven_steps_are_put_on_bins_that_nearly_all_hold_a_value():
    for median in (0.9, 1.3, 2.5):
        steps = uneven(500, median, 6)
        samples = clock(0, (steps[-1] - START) / SECOND, 1)
        grid = causal_grid(steps, np.arange(500.0), samples, np.zeros(samples.size))
        assert grid.clock == "bins"
        assert 2.0 <= grid.period_s <= 6.0
        assert grid.period_s == round(grid.period_s)  # said by a person
        np.testing.assert_array_equal(
            np.diff(grid.time_ns), np.diff(grid.bin) * round(grid.period_s * SECOND)
        )
        assert grid.x.size > 0.9 * (grid.bin[-1] + 1)
        assert len(grid.notes) == 1
        assert "steps come at uneven intervals" in grid.notes[0]


def test_uneven_samples_make_bins_too():
    samples = uneven(400, 2.0, 7)
    steps = clock(0, (samples[-1] - START) / SECOND, 0.4)
    grid = causal_grid(steps, np.zeros(steps.size), samples, np.arange(400.0))
    assert grid.clock == "bins"
    assert "samples come at uneven intervals" in grid.notes[0]


def test_regular_clocks_with_pauses_jitter_or_missed_beats_keep_their_own():
    rng = np.random.default_rng(8)
    pauses = np.cumsum(2.0 + 0.2 * rng.standard_normal(300) + 20.0 * (np.arange(300) % 50 == 49))
    samples = clock(0, pauses[-1], 1)
    grid = causal_grid(at(*pauses), np.zeros(300), samples, np.zeros(samples.size))
    assert (grid.clock, grid.notes) == ("steps", [])
    quick = uneven(3000, 0.4, 9)  # uneven, but every second holds some
    samples = clock(0, (quick[-1] - START) / SECOND, 1)
    assert causal_grid(quick, np.zeros(3000), samples, np.zeros(samples.size)).clock == "samples"


def test_means_of_uneven_values_are_those_of_the_middle_of_their_bins():
    """Else one shift in time serves both sides, and two slopes look coupled."""
    steps = uneven(800, 1.3, 10)
    seconds = (steps - START) / SECOND
    course, other = 5 * np.sin(seconds / 30), 0.2 * seconds
    grid = causal_grid(steps, course, steps, other)
    middle = (grid.time_ns - START) / SECOND - grid.period_s / 2
    off_x, off_y = grid.x - 5 * np.sin(middle / 30), grid.y - 0.2 * middle
    plain = [np.mean(other[(seconds > m - 2) & (seconds <= m + 2)]) - 0.2 * m for m in middle]
    assert np.std(off_y) < 0.35 * np.std(plain)
    assert abs(np.corrcoef(off_x, off_y)[0, 1]) < 0.3


def test_moving_a_mean_uses_nothing_that_comes_later():
    steps = uneven(400, 1.3, 11)
    values = np.random.default_rng(12).standard_normal((2, 400))
    before = causal_grid(steps, values[0], steps, values[1])
    late = steps > steps[200]
    after = causal_grid(steps, values[0] + 100 * late, steps, values[1] - 100 * late)
    known = before.time_ns <= steps[200]
    assert known.sum() > 50
    np.testing.assert_array_equal(before.x[known], after.x[known])
    np.testing.assert_array_equal(before.y[known], after.y[known])


def test_a_clock_that_changes_gear_gets_bins_of_its_slow_gear():
    rng = np.random.default_rng(13)
    lengths = np.repeat(np.where(rng.random(60) < 0.4, 3.0, 0.5), 15) * np.exp(0.1 * rng.standard_normal(900))
    steps = at(*np.cumsum(lengths))
    grid = causal_grid(steps, np.zeros(900), steps, np.zeros(900))
    assert (grid.clock, grid.period_s) == ("bins", 4.0)
    assert grid.x.size > 0.9 * (grid.bin[-1] + 1)


def test_it_is_said_where_pauses_cut_much_of_a_run_into_stretches_too_short():
    seconds = np.concatenate([100 * k + np.arange(20 if k else 60) for k in range(6)])
    times, values = seconds * 10**9, np.random.default_rng(1).standard_normal(seconds.size)
    grid = causal_grid(times, values, times, values)
    assert grid.x.size < 61
    assert any("bins are left out: pauses cut them into stretches of fewer than 30" in n for n in grid.notes)
