import math
import random

import pytest
from thermograd.store.experiment.e_process import REJECT_AT, BlockOutcomes, EProcess, pair_contrasts
from thermograd.store.experiment.schedules import Pulses, Schedule, ScheduleError, Switchback

SCHEDULE = Schedule("duty", Switchback(10), seed=3, start_step=5)


def after(contributions):
    process = EProcess()
    for d in contributions:
        process.update(d)
    return process


def test_no_more_than_one_in_twenty_ever_reaches_twenty_without_an_effect():
    rng = random.Random(1)

    def runs():
        for _ in range(600):
            burst = rng.choice((1.0, 1000.0))
            yield [rng.choice((-1, 1)) * rng.lognormvariate(0, 1) * (1 if i else burst) for i in range(40)]

    reached = sum(after(run).largest >= REJECT_AT for run in runs())
    assert reached <= 43  # 30 and 2.5 sd


def test_mean_of_the_e_value_over_all_signs_is_one():
    magnitudes = (3.0, 0.1, 1.0, 0.0, 2.5, 0.7)
    values = []
    for signs in range(2 ** len(magnitudes)):
        values.append(after(m if signs >> i & 1 else -m for i, m in enumerate(magnitudes)).e_value)
    assert sum(values) / len(values) == pytest.approx(1.0, abs=1e-12)


def test_mean_over_all_places_of_a_pulse_is_one():
    scores = [0.3, -2.0, 5.0, 0.1]
    values = []
    for drawn in range(4):
        process = EProcess()
        process.update_among(scores, drawn)
        values.append(process.e_value)
    assert sum(values) / 4 == pytest.approx(1.0, abs=1e-12)
    for _ in range(20):
        process.update_among(scores, 2)
    assert process.e_value > REJECT_AT


@pytest.mark.parametrize("first", [1e-300, 1e300])
def test_first_pair_sets_no_scale(first):
    assert after([first, 1.0, 1.2, 0.9, 1.1, 0.8, 1.3, 1.0, 1.2]).e_value > REJECT_AT


def test_neither_unit_nor_direction_matters():
    rng = random.Random(2)
    d = [rng.gauss(0.5, 1.0) for _ in range(20)]
    assert after(1024.0 * x for x in d).e_value == after(d).e_value
    assert after(-x for x in d).e_value == pytest.approx(after(d).e_value, rel=1e-12)


def test_what_is_not_known_is_skipped_and_nothing_overflows():
    known = [1.0, 2.0, 1.5, 1.2]
    assert after([1.0, None, 2.0, math.nan, 1.5, math.inf, 1.2]).e_value == after(known).e_value
    long = after([1.0] * 3000)
    assert long.n == 3000
    assert math.isfinite(long.e_value)
    assert long.log_e_value > 700
    assert after([0.0] * 5).e_value == 1.0


def test_largest_is_of_the_way():
    process = after([1.0] * 10 + [-1.0] * 10)
    assert process.largest == pytest.approx(after([1.0] * 10).e_value)
    assert process.e_value < 1.0


def measured(value, blocks=8, schedule=SCHEDULE):
    """Return steps and values before and in `blocks` blocks; `value(step, is_hot)`."""
    steps = range(1, schedule.start_step + blocks * schedule.design.block_steps)
    at = [(step, schedule.at(step)) for step in steps]
    return list(steps), [value(step, block is not None and block.level == "hot") for step, block in at]


def test_contrast_is_hot_less_cool_whatever_came_first():
    contrasts = pair_contrasts(SCHEDULE, *measured(lambda step, is_hot: 2.0 + 0.5 * is_hot))
    assert [each.d for each in contrasts] == pytest.approx([0.5] * 4)
    assert {each.sign for each in contrasts} == {-1, 1}


def test_other_coins_change_signs_and_nothing_else():
    rng = random.Random(4)
    steps, values = measured(lambda step, is_hot: rng.gauss(0, 1))
    sizes = set()
    for seed in range(5):
        contrasts = pair_contrasts(Schedule("duty", Switchback(10), seed, 5), steps, values)
        sizes.add(tuple(each.first_less_second for each in contrasts))
    assert len(sizes) == 1


def test_steady_drift_is_taken_out_from_the_second_pair():
    contrasts = pair_contrasts(SCHEDULE, *measured(lambda step, is_hot: -0.01 * step))
    assert [abs(each.d) < 1e-12 for each in contrasts] == [False, True, True, True]


def test_a_spike_and_values_that_are_not_known_move_little():
    steps, values = measured(lambda step, is_hot: 1.0 * is_hot + 0.01 * (step % 3))
    clean = pair_contrasts(Schedule("duty", Switchback(20), 3, 5), steps, values)
    values[60], values[62], values[64] = 1e9, math.nan, None
    spiked = pair_contrasts(Schedule("duty", Switchback(20), 3, 5), steps, values)
    assert [each.d for each in spiked] == pytest.approx([each.d for each in clean], abs=0.05)


def test_a_pair_with_too_few_values_contributes_nothing():
    steps, values = measured(lambda step, is_hot: None if 25 <= step < 43 else 1.0)
    assert [each.d for each in pair_contrasts(SCHEDULE, steps, values)] == [0.0, None, 0.0, 0.0]


def test_lost_and_repeated_steps_end_the_pair_once():
    steps, values = measured(lambda step, is_hot: 1.0 * is_hot)
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if not 23 <= step < 26]
    outcomes = BlockOutcomes(SCHEDULE)
    for step, value in kept + kept[-30:]:
        outcomes.update(step, value)
    assert [(each.pair, each.d) for each in outcomes.contrasts] == [(i, pytest.approx(1.0)) for i in range(4)]


def test_pulses_have_no_pairs():
    with pytest.raises(ScheduleError, match="of a switchback, not of pulses"):
        BlockOutcomes(Schedule("shadow", Pulses(2), 1, 0))
