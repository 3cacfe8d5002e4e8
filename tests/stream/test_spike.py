import math
import pickle
import random

import naive_stream
import pytest
from hypothesis import example, given, settings, strategies as st
from river_contract import run_checks
from thermograd.stream.spike import Episode, SpikeDetector
from training_series import Score, training_series


def noise(n: int, seed: int = 0, level: float = 1.0, sd: float = 0.05) -> list[float]:
    rng = random.Random(seed)
    return [level * (1.0 + rng.gauss(0.0, sd)) for _ in range(n)]


def flags(values: list[float], detector: SpikeDetector | None = None) -> list[bool]:
    detector = detector or SpikeDetector()
    result = []
    for x in values:
        detector.update(x)
        result.append(detector.detected)
    return result


def test_a_spike_is_seen_at_its_step_and_told_once() -> None:
    detector = SpikeDetector()
    values = noise(300)
    values[200:203] = [8.0, 7.0, 6.0]
    started = []
    for step, x in enumerate(values):
        detector.update(x)
        if detector.episode_started:
            started.append(step)
            assert detector.score is not None
            assert detector.score > 10
            assert detector.level == pytest.approx(1.0, abs=0.05)
            assert detector.level_ratio == pytest.approx(8.0, rel=0.05)
            assert detector.threshold is not None
            assert x > detector.threshold
    assert started == [200]


def test_constant_then_one_percent_more_stays_quiet() -> None:
    assert not any(flags([1.0] * 300 + [1.01] * 300))


@pytest.mark.parametrize("after", [5, 20, 60, 120])
def test_a_huge_spike_does_not_blind_the_detector(after: int) -> None:
    """OLMo's rule, which learns the raw value, misses the second spike at all four distances."""
    values = noise(600)
    values[200] = 1000.0
    values[200 + after] = 5.0
    found = flags(values)
    assert found[200]
    assert found[200 + after]
    assert sum(found) == 2


def test_a_level_that_stays_three_times_higher_is_soon_the_new_level() -> None:
    assert 1 <= sum(flags(noise(300) + noise(600, 1, level=3.0))) <= 40


def test_a_level_that_jumps_a_hundredfold_is_taken_over_after_20_alarms() -> None:
    detector = SpikeDetector(k=1000.0)
    rebased = []
    for step, x in enumerate(noise(300) + noise(300, 1, level=1e4)):
        detector.update(x)
        if detector.rebased:
            rebased.append(step)
    assert len(rebased) <= 1
    assert detector.level == pytest.approx(1e4, rel=0.05)
    assert not detector.detected


def test_zeros_are_told_and_never_learnt() -> None:
    detector = SpikeDetector()
    for x in [*noise(200), *[0.0] * 300]:
        detector.update(x)
    assert detector.zero
    assert not detector.detected
    assert detector.level is None
    assert sum(flags(noise(100, 1), detector)) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_leave_no_trace(bad: float) -> None:
    values = noise(400)
    with_bad, without = SpikeDetector(), SpikeDetector()
    for step, x in enumerate(values):
        if step in (3, 150, 151):
            with_bad.update(bad)
            assert with_bad.nonfinite
            assert not with_bad.detected
            assert with_bad.score is None
        with_bad.update(x)
        without.update(x)
        assert (with_bad.score, with_bad.level, with_bad.threshold) == (
            without.score, without.level, without.threshold)  # fmt: skip


@pytest.mark.parametrize("huge", [1e6, 1e8, 1e12, 1e160, 1e300])
@pytest.mark.parametrize("at", [2, 25, 200])
def test_river_sums_recover_after_a_huge_value(huge: float, at: int) -> None:
    """Bare Rolling(Var) has a negative variance for ever after 1e8 (river #732)."""
    values = noise(800)
    values[at] = huge
    detector = SpikeDetector(usual=False)
    for x in values:
        detector.update(x)
    recent = values[-129:-1]
    mean = math.fsum(recent) / 128
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in recent) / 127)
    assert detector.level == pytest.approx(mean, rel=1e-9)
    assert detector.deviation == pytest.approx(sd, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_rule_computed_from_whole_windows(seed: int) -> None:
    rng = random.Random(seed)
    values = [math.exp(rng.gauss(0, 0.3)) * (rng.choice([1, 1, 20]) if rng.random() < 0.02 else 1)
              for _ in range(700)]  # fmt: skip
    values[400:] = [5.0 * x for x in values[400:]]
    values[560:] = [x / 6.0 for x in values[560:]]
    detector = SpikeDetector()
    for x, (detected, threshold) in zip(values, naive_stream.spikes(values), strict=True):
        detector.update(x)
        assert detector.detected == detected
        if threshold is not None:
            assert detector.threshold == pytest.approx(threshold, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_subnormal=False), min_size=1, max_size=150), st.integers(0, 149))
@example([5.860395538391857e-159, 6.607309161877192e-210, 7.449505899234975e149], 0)
def test_the_future_changes_no_past_score(values: list[float], cut: int) -> None:
    long, short = SpikeDetector(warmup_steps=2), SpikeDetector(warmup_steps=2)
    cut = min(cut, len(values))
    seen = []
    for x in values:
        long.update(x)
        seen.append((long.score, long.detected))
    for x, expected in zip(values[:cut], seen, strict=False):
        short.update(x)
        assert (short.score, short.detected) == expected
    assert all(score is None or math.isfinite(score) for score, _ in seen)


def test_a_pickle_or_a_clone_behaves_as_it_should() -> None:
    values = noise(500)
    values[300] = 9.0
    detector = SpikeDetector(k=5.0)
    for x in values[:299]:
        detector.update(x)
    resumed = pickle.loads(pickle.dumps(detector))
    fresh = detector.clone()
    assert fresh.k == 5.0
    assert fresh.level is None
    for x in values[299:]:
        detector.update(x)
        resumed.update(x)
        assert (detector.score, detector.deviation) == (resumed.score, resumed.deviation)


def test_passes_river_own_contract() -> None:
    names = run_checks(SpikeDetector())
    assert {"check_repr", "check_clone_same_class", "check_pickling_supports_roundtrip"} < set(names)


@pytest.mark.parametrize("after", [40, 70, 100])
def test_a_level_that_has_fallen_back_hides_no_spike_for_longer_than_it_takes_to_see_that(after: int) -> None:
    """After 100 steps of eight times the norm, the window would be half full of them for a while."""
    values = noise(300) + noise(100, 1, level=8.0) + noise(200, 2)
    values[400 + after] = 9.0
    found = flags(values)
    assert found[400 + after]
    assert sum(found[400:]) == 1


def test_a_negative_level_is_never_low() -> None:
    detector = SpikeDetector()
    for x in noise(300):
        detector.update(-x)
        assert not detector.rebased


def test_finds_planted_spikes_and_few_others() -> None:
    """A small part of benchmarks/goals/stream.py, whose goals are those of the full set."""
    disturbed, clean = Score(), Score()
    for seed in range(8):
        series = training_series(seed)
        disturbed.add(series, flags(series.values), ("single", "sustained"))
    for seed in range(4):
        series = training_series(100 + seed, disturbed=False)
        clean.add(series, flags(series.values), ())
    assert disturbed.f1 >= 0.92
    assert disturbed.recall("x10+") == 1.0
    assert disturbed.false_per_10k <= 6.0
    assert clean.false_per_10k <= 6.0


def test_episode_ends_after_its_quiet_steps() -> None:
    episode = Episode(quiet_steps=10)
    started = []
    for step in range(40):
        episode.update(step in (3, 12, 23))
        if episode.started:
            started.append(step)
    assert started == [3, 23]


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="2 <= warmup_steps <= window_steps"):
        SpikeDetector(window_steps=10)
    assert SpikeDetector(ratio=1.1).definition_id == (
        "spike/3(k=6.75,window_steps=128,ratio=1.1,warmup_steps=20,rebase_steps=20,quiet_steps=10)"
    )


def version_2() -> SpikeDetector:
    return SpikeDetector(k=6.0, rebase_steps=32, usual=False)


def test_what_was_recorded_with_version_2_is_had_again_in_its_words() -> None:
    assert version_2().definition_id == (
        "spike/2(k=6.0,window_steps=128,ratio=1.3,warmup_steps=20,rebase_steps=32,quiet_steps=10)"
    )
    values = training_series(3).values
    rule = naive_stream.spikes(values, k=6.0, rebase=32, usual=False)
    assert flags(values, version_2()) == [detected for detected, _ in rule]
    assert flags(values) != [detected for detected, _ in rule]


def test_a_spike_just_learnt_leaves_the_deviation_nearly_where_it_was() -> None:
    values = noise(300)
    values[200] = 8.0
    raised = []
    for detector in (SpikeDetector(), version_2()):
        deviations = []
        for x in values:
            detector.update(x)
            deviations.append(detector.deviation)
        raised.append(deviations[201] / deviations[200])
    assert raised[0] < 1.03
    assert raised[1] > 1.1


def test_noise_that_begins_after_a_constant_level_is_soon_usual() -> None:
    """A deviation that was learnt as 0 must not hold every later distance down to it."""
    rng = random.Random(0)
    values = [1.0] * 300 + [1.0 + 0.2 * rng.gauss(0.0, 1.0) for _ in range(500)]
    detector = SpikeDetector()
    found = flags(values, detector)
    assert sum(found[300:400]) <= 20
    assert not any(found[400:])
    assert detector.deviation == pytest.approx(0.2, rel=0.2)


def test_the_steps_after_a_changed_level_are_watched_at_once() -> None:
    """With fewer values than the warm-up needs, three of 1749 spikes of x10 and more were not seen."""
    values = noise(300) + noise(60, 1, level=0.5)
    values[300 + SpikeDetector().rebase_steps] = 30.0
    assert flags(values)[300 + SpikeDetector().rebase_steps]


def test_a_small_spike_does_not_hide_a_large_one_that_follows_apart():
    """A natural spike of 3 ten steps before a spoilt batch of 11 swallowed its alert once."""
    detector = SpikeDetector()
    values = [0.8 + 0.01 * (i % 7) for i in range(200)]
    values[150], values[160] = 3.2, 11.0
    onsets = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.episode_started:
            onsets.append(i)
    assert onsets == [150, 160]


def test_a_spike_of_several_rising_steps_and_its_echoes_are_one_episode():
    detector = SpikeDetector()
    values = [0.8 + 0.01 * (i % 7) for i in range(200)]
    values[150:154] = [3.0, 6.0, 12.0, 24.0]
    values[158] = 12.0
    onsets = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.episode_started:
            onsets.append(i)
    assert onsets == [150]
