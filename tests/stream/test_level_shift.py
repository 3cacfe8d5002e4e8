import math
import pickle
import random
import statistics

import numpy as np
import pytest
from river_contract import run_checks
from thermograd.stream.level_shift import LevelShift


def noise(n: int, seed: int = 0, level: float = 1.0, sd: float = 0.1) -> list[float]:
    rng = random.Random(seed)
    return [level * math.exp(rng.gauss(0.0, sd)) for _ in range(n)]


def onsets(values: list[float]) -> list[int]:
    detector = LevelShift()
    found = []
    for step, x in enumerate(values):
        detector.update(x)
        if detector.episode_started:
            found.append(step)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_sustained_growth_is_told_once_and_soon(seed: int) -> None:
    found = onsets(noise(400, seed) + noise(100, seed + 100, level=2.0))
    assert len(found) == 1
    assert 400 < found[0] <= 412


def test_a_slow_ramp_is_found_and_a_single_spike_is_not() -> None:
    ramp = [x * (1.0 + 4.0 * step / 300) for step, x in enumerate(noise(300, 1))]
    assert onsets(noise(400) + ramp)
    spiked = noise(800)
    for step in range(100, 800, 100):
        spiked[step] *= 1000.0
    assert onsets(spiked) == []


def test_noise_and_decay_raise_nothing() -> None:
    for seed in range(5):
        values = [x * (1.0 + 5.0 * math.exp(-step / 150)) for step, x in enumerate(noise(2000, seed, sd=0.3))]
        assert onsets(values) == []


def test_equals_medians_of_the_last_values() -> None:
    values = noise(600, 3)
    detector = LevelShift()
    for step, x in enumerate(values):
        detector.update(x)
        if step + 1 >= 64:
            slow = values[max(0, step - 255) : step + 1]
            assert detector.level is not None
            assert detector.recent == pytest.approx(statistics.median(values[step - 15 : step + 1]))
            assert detector.level == pytest.approx(statistics.median(slow))
            spread = (np.quantile(slow, 0.75) - np.quantile(slow, 0.25)) / 1.3489795
            assert detector.threshold == pytest.approx(
                detector.level + max(0.6 * detector.level, 2 * spread), rel=1e-6
            )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0])
def test_what_would_make_river_panic_is_kept_out(bad: float) -> None:
    values = noise(300)
    detector, clean = LevelShift(), LevelShift()
    for step, x in enumerate(values):
        if step % 50 == 7:
            detector.update(bad)
            assert detector.recent is None
        detector.update(x)
        clean.update(x)
        assert (detector.recent, detector.level) == (clean.recent, clean.level)


def test_a_pickle_in_mid_stream_goes_on_bit_for_bit() -> None:
    values = noise(400) + noise(200, 1, level=3.0)
    detector = LevelShift()
    for x in values[:401]:
        detector.update(x)
    resumed = pickle.loads(pickle.dumps(detector))
    for x in values[401:]:
        detector.update(x)
        resumed.update(x)
        assert (detector.score, detector.detected, detector.episode_started) == (
            resumed.score, resumed.detected, resumed.episode_started)  # fmt: skip


def test_passes_river_own_contract() -> None:
    names = run_checks(LevelShift())
    assert {"check_repr", "check_clone_same_class", "check_pickling_supports_roundtrip"} < set(names)


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="fast_steps < slow_steps"):
        LevelShift(fast_steps=300)
    assert LevelShift().definition_id.startswith("shift/1(fast_steps=16,slow_steps=256,ratio=1.6,")
