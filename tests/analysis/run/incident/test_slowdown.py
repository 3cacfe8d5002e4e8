"""The slowdown of throttled steps: right where it is known, silent where it cannot be told."""

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray
from scipy.stats import binomtest
from thermograd.analysis.run.incident.slowdown import Slowdown, slowdown

Floats = NDArray[np.float64]


def _throttled(rng: np.random.Generator, n: int, mean_length: float) -> Floats:
    lengths = 1 + rng.exponential(mean_length, size=2 * n).astype(int)
    return np.repeat(np.arange(2 * n) % 2, lengths)[:n].astype(float)


def _training(seed: int, ratio: float, memory: float, n: int = 2400) -> tuple[Floats, Floats, Floats]:
    """Steps of about half a second that resemble their neighbours, drift, and change in length twice."""
    rng = np.random.default_rng(seed)
    share = _throttled(rng, n, 40)
    noise = scipy.signal.lfilter([1], [1, -memory], rng.standard_normal(n) * 0.08 * np.sqrt(1 - memory**2))
    phase = np.where((np.arange(n) > 0.3 * n) & (np.arange(n) < 0.7 * n), 2.0, 1.0)
    step_s = 0.5 * np.exp(noise) * phase * np.linspace(1, 1.2, n) * np.where(share > 0, ratio, 1.0)
    return np.cumsum(step_s), step_s, share


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_interval_holds_the_truth_as_often_as_it_says(memory: float) -> None:
    found = [slowdown(*_training(seed, 1.3, memory)) for seed in range(150)]
    hits = sum(each.low <= 1.3 <= each.high for each in found if each.low and each.high)
    assert binomtest(hits, len(found), 0.95, "less").pvalue > 0.001
    assert np.mean([each.ratio for each in found]) == pytest.approx(1.3, rel=0.01)


def test_throttling_without_effect_is_rarely_called_slower() -> None:
    found = [slowdown(*_training(seed, 1.0, 0.9)) for seed in range(150)]
    assert binomtest(sum(each.slower for each in found), len(found), 0.05, "greater").pvalue > 0.01


def test_a_long_phase_with_more_throttling_is_not_the_throttling() -> None:
    n = 4000
    rng = np.random.default_rng(3)
    longer = np.arange(n) >= n // 2
    share = (_throttled(rng, n, 10) * (longer | (rng.random(n) < 0.2))).astype(float)
    step_s = 0.5 * np.where(longer, 2.0, 1.0) * np.exp(0.05 * rng.standard_normal(n))
    naive = step_s[share > 0].mean() / step_s[share == 0].mean()
    found = slowdown(np.cumsum(step_s), step_s, share)
    assert naive > 1.2
    assert found.ratio == pytest.approx(1.0, abs=0.01)
    assert not found.slower


def test_pauses_do_not_count() -> None:
    _, step_s, share = _training(1, 1.3, 0.0)
    paused = step_s.copy()
    paused[np.flatnonzero(share == 0)[::50]] = 60.0
    with_pauses = slowdown(np.cumsum(paused), paused, share)
    assert with_pauses.ratio == pytest.approx(1.3, rel=0.03)
    assert with_pauses.slower


def _cannot(share: Floats) -> Slowdown:
    step_s = np.full(share.size, 0.5)
    return slowdown(np.cumsum(step_s), step_s, share)


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        (np.ones(100), "no step was free"),
        (np.zeros(100), "no step was throttled"),
        (np.full(100, np.nan), "no step was throttled"),
        (np.full(100, 0.3), "no step was throttled"),
        (np.append(np.ones(10), np.zeros(90)), "too few"),
        (np.empty(0), "no step was throttled"),
    ],
)
def test_it_says_why_it_cannot_tell(share: Floats, reason: str) -> None:
    found = _cannot(share)
    assert found.ratio is None
    assert found.lost_ratio is None
    assert reason in found.reason


def test_one_stretch_has_a_ratio_but_no_interval() -> None:
    found = _cannot(np.repeat([0.0, 1.0, 0.0], 100))
    assert (found.ratio, found.low, found.high) == (pytest.approx(1.0), None, None)
    assert found.reason.startswith("once only")


def test_partly_throttled_time_counts_as_lost_but_is_not_compared() -> None:
    share = np.tile(np.repeat([0.0, 0.3, 1.0], 30), 20)
    found = _cannot(share)
    assert (found.throttled_steps, found.other_steps) == (600, 600)
    assert found.throttled_s == pytest.approx(0.5 * share.sum())


def test_states_read_more_slowly_than_they_change_tell_no_slowdown() -> None:
    share = np.random.default_rng(0).choice([0.0, 0.5, 1.0], 3000, p=[0.5, 0.4, 0.1])
    step_s = np.where(share > 0, 0.7, 0.5)
    assert slowdown(np.cumsum(step_s), step_s, share).ratio is not None
    found = slowdown(np.cumsum(step_s), step_s, share, sampled=True)
    assert (found.ratio, found.reason) == (None, "it came and went faster than the device was read")


def test_steps_throttled_in_part_tell_what_the_whole_would_cost() -> None:
    rng = np.random.default_rng(0)
    share = np.where(_throttled(rng, 4000, 40) > 0, 0.6, 0.0)
    step_s = 0.5 / (1 - share * (1 - 1 / 1.4)) * np.exp(0.02 * rng.standard_normal(4000))
    assert slowdown(np.cumsum(step_s), step_s, share).ratio == pytest.approx(1.4, abs=0.01)
