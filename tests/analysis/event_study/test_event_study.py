"""What happens around events: planted answers are found, chance is not, and too few events say so."""

import math

import numpy as np
import pytest
from thermograd.analysis.calibration.processes import ar
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.event_study.coincidence import event_coincidence
from thermograd.analysis.event_study.onsets import onset_test, onsets_of, residual_spikes
from thermograd.analysis.event_study.triggered_average import event_triggered_average


def test_an_answer_to_spikes_is_found_at_its_size_under_a_trend():
    spikes = np.zeros(600, dtype=bool)
    spikes[25::40] = True
    heat = 0.02 * np.arange(600) + np.convolve(spikes, [0.0] + [3.0] * 12)[:600]
    noise = np.random.default_rng(1).normal(scale=0.2, size=600)
    found = event_triggered_average(heat + noise, spikes, after=12)
    assert found.effect == pytest.approx(3.0, abs=0.3)
    assert found.effect_low < 3.0 < found.effect_high
    assert (found.n_spikes, found.n_spikes_found, found.reason) == (15, 15, None)


def test_no_answer_is_seldom_seen():
    missed = 0
    for run in range(60):
        rng = np.random.default_rng([7, run])
        found = event_triggered_average(ar(rng, 500).y, rng.random(500) < 0.03)
        missed += found.reason is None and not found.effect_low <= 0.0 <= found.effect_high
    assert missed <= 9


def test_few_spikes_have_a_reason_and_no_numbers():
    found = event_triggered_average(np.arange(100.0), np.arange(100) == 50)
    assert found.reason is not None
    assert found.reason.startswith("1 spike; at least 5")
    assert math.isnan(found.effect)
    assert np.isnan(found.mean).all()
    assert (found.n_spikes, found.n_spikes_found) == (0, 1)


def test_a_spike_is_far_above_all_residuals_known_and_nothing_else_is():
    residual = np.random.default_rng(2).standard_normal(300)
    residual[[40, 200]] = 9.0
    residual[60] = -9.0
    residual[80] = np.nan
    assert np.flatnonzero(residual_spikes(residual)).tolist() == [40, 200]
    assert not residual_spikes(np.full(10, np.nan)).any()
    assert not residual_spikes(np.ones(10)).any()


def test_a_flag_that_stays_up_has_one_onset_and_nan_is_down():
    assert onsets_of([1, 1, 0, np.nan, 2, 2, 0]).tolist() == [True, False, False, False, True, False, False]


def test_few_onsets_have_a_reason_and_no_p():
    found = onset_test(np.random.default_rng(3).standard_normal(200), np.arange(200) == 90)
    assert found.reason == "only 1 onset; at least 40 are needed"
    assert math.isnan(found.p)
    assert math.isnan(found.effect)


def test_coincidences_keep_their_direction():
    rng = np.random.default_rng(4)
    first = rng.random(3000) < 0.02
    found = event_coincidence(first, np.roll(first, 5), window=8)
    back = event_coincidence(np.roll(first, 5), first, window=3)
    assert found.trigger_rate > 0.95
    assert found.trigger_p < 0.01
    assert back.trigger_rate < 0.3
    rare = event_coincidence(first, np.arange(3000) == 7, window=8)
    assert math.isnan(rare.trigger_p)
    assert "at least 40 of each kind" in str(rare.reason)


def shared_rate(rng, m=1500):
    """Events of two kinds that are both frequent early in the run."""
    return rng.random((2, m)) < 0.15 * np.exp(-4.0 * np.arange(m) / m) + 0.005


def shared_rhythm(rng, m=1500, length=40):
    """Events of two kinds that happen at the same four places of an epoch, each by itself."""
    return np.isin(np.arange(m) % length, rng.integers(length, size=4)) & (rng.random((2, m)) < 0.5)


@pytest.mark.parametrize("made", [shared_rate, shared_rhythm])
def test_rates_and_rhythms_in_common_are_no_coincidence(made):
    """Compared with plain circular shifts, 16 to 24 of 40."""
    p = [
        event_coincidence(*made(np.random.default_rng([5, run])), 8, fewest=20).trigger_p for run in range(40)
    ]
    assert np.sum(np.array(p) <= 0.05) <= 6


def test_an_answer_is_found_although_rates_fall_together():
    rng = np.random.default_rng(6)
    first, second = shared_rate(rng)
    found = event_coincidence(first, second | np.append(np.zeros(3, dtype=bool), first[:-3]), 8)
    assert found.turn == 1
    assert found.trigger_p < 0.01


def test_few_turns_of_a_rhythm_in_both_have_a_reason_and_no_p():
    struck = np.isin(np.arange(1000) % 100, [3, 40, 41, 57, 90])
    found = event_coincidence(struck, np.roll(struck, 2), 8)
    assert found.reason == "both kinds keep a rhythm of 100 bins, of which only 10 turns can be compared"
    assert math.isnan(found.trigger_p)


def test_spikes_that_no_shift_leaves_quiet_windows_have_a_reason():
    spikes = np.zeros(1500, dtype=bool)
    spikes[34::20] = True
    found = event_triggered_average(np.random.default_rng(0).standard_normal(1500), spikes, 6, 12)
    assert found.reason == "74 spikes so placed that hardly any shift leaves quiet windows"
    assert math.isnan(found.effect)


def test_spikes_that_crowd_where_the_signal_is_restless_have_no_answer():
    """A quarter of such intervals missed 0 when only the mean, not its error, was compared with shifts."""
    missed = 0
    for run in range(40):
        pair = ZOO["hetero"].make(np.random.default_rng([8, run]), 1000)
        jumps = np.diff(pair.x, prepend=pair.x[0])
        found = event_triggered_average(pair.y, jumps > 2.0 * np.median(np.abs(jumps)) / 0.6745)
        missed += found.reason is None and not found.effect_low <= 0.0 <= found.effect_high
    assert missed <= 5


def test_onsets_that_keep_the_wandering_rhythm_of_the_training_are_no_coupling():
    """By random orders and signs alone, a seventh of such runs."""
    p = []
    for run in range(40):
        pair = ZOO["pulses20-jitter"].make(np.random.default_rng([9, run]), 400)
        onsets = onsets_of(np.diff(pair.y, prepend=pair.y[0]) > 2.0)
        p.append(onset_test(pair.x, onsets, permutations=199, seed=run, fewest_onsets=20).p)
    assert np.sum(np.array(p) <= 0.05) <= 6
