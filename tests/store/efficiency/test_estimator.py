import math
import pickle
import random
import statistics
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from thermograd.store.efficiency.estimator import (
    DEFINITIONS,
    Efficiency,
    Efficiency as StreamEfficiency,
    EfficiencyDefinition,
)


class SeedReference:
    """The first instrument's definition, from DETECTORS.md's table (column v1), one reading a second."""

    def __init__(self, rated_power_w: float, temperature_limit_c: float) -> None:
        self.rated, self.limit = rated_power_w, temperature_limit_c
        self.utils: list[float] = []
        self.temps: list[float] = []
        self.rles: list[float] = []
        self.peak, self.below = 0.0, 0

    def update(self, util: float, power: float | None, temp: float) -> dict[str, Any]:
        self.utils.append(min(max(util, 0.0), 100.0))
        self.temps.append(temp)
        eta = self.utils[-1] / 100.0
        last = self.utils[-5:]
        sigma = 1.0 / (1.0 + (statistics.pstdev(last) if len(last) > 1 else 0.0))
        alpha = (power if power is not None and power > 0 else self.rated * eta) / self.rated
        rise = self.temps[-1] - self.temps[-2] if len(self.temps) > 1 else None
        tau = 600.0 if rise is None else max(min((self.limit - temp) / max(rise, 1e-3), 600.0), 1.0)
        rle = eta * sigma / (max(alpha, 1e-6) * (1.0 + 1.0 / tau))
        self.rles.append(rle)
        smoothed = statistics.fmean(self.rles[-5:])
        collapse = False
        if len(self.rles) >= 5:
            self.peak = max(smoothed, self.peak * 0.998)
            gate = (self.utils[-1] > 60 or alpha > 0.75) and rise is not None and rise > 0.05
            drop = smoothed < 0.65 * max(self.peak, 1e-6)
            self.below = self.below + 1 if gate and drop else 0
            evidence = tau < 60 or temp > self.limit - 5 or alpha > 0.95
            collapse = self.below >= 7 and evidence
        return {"rle": rle, "rle_smoothed": smoothed, "rolling_peak": self.peak, "stability": sigma,
                "a_load": alpha, "t_sustain_s": tau, "collapse": collapse}  # fmt: skip


def random_session(seed: int, seconds: int = 2000) -> list[tuple[float, float | None, float]]:
    """Readings one second apart that heat, hold and cool, with busy and jittery stretches."""
    rng = random.Random(seed)
    temp, util = 50.0, 50.0
    rows: list[tuple[float, float | None, float]] = []
    phase, left = "calm", 0
    for _ in range(seconds):
        if left == 0:
            phase, left = rng.choice(["calm", "jitter", "heat", "cool"]), rng.randint(10, 90)
        left -= 1
        util = rng.uniform(0, 100) if phase == "jitter" else min(100, max(0, rng.gauss(85, 3)))
        if phase == "heat":
            util = rng.uniform(61, 100)
        temp += {"calm": rng.gauss(0, 0.02), "jitter": rng.gauss(0, 0.1), "heat": rng.uniform(0.06, 0.3),
                 "cool": -rng.uniform(0, 0.6)}[phase]  # fmt: skip
        temp = min(max(temp, 25.0), 96.0)
        power = None if rng.random() < 0.02 else rng.uniform(0, 130)
        rows.append((util, power, temp))
    return rows


def test_seed_1hz_equals_the_first_instrument_on_readings_one_second_apart() -> None:
    collapses = 0
    for seed in range(12):
        reference = SeedReference(100.0, 85.0)
        ours = Efficiency(100.0, 85.0, definition="seed_1hz")
        for second, (util, power, temp) in enumerate(random_session(seed)):
            expected = reference.update(util, power, temp)
            ours.update(1_700_000_000.0 + second, util, power, temp)
            for name, value in expected.items():
                if name == "collapse":
                    assert ours.collapse is value, (seed, second)
                else:
                    assert math.isclose(getattr(ours, name), value, rel_tol=1e-12, abs_tol=0), (
                        seed,
                        second,
                        name,
                    )
            collapses += expected["collapse"]
    assert collapses > 50  # the comparison is worth nothing if there are none


def heating_run(
    interval_s: float, whole_degrees: bool = False, definition: str = "rle_clean"
) -> tuple[float, float]:
    """Five seconds of steadiness a level, then jitter while heating: (mean rle, onset) at a rate."""
    efficiency = Efficiency(100.0, 85.0, definition=definition)
    total, n, onset = 0.0, 0, None
    for k in range(1, round(220 / interval_s)):
        t = k * interval_s
        level = 90.0 if t < 120 else 90.0 - 25.0 * (int(t) % 2)
        temp = 60.0 + 0.11 * t
        power = 60.0 + 20.0 * (t > 120)
        efficiency.update(t, level, power, math.floor(temp) if whole_degrees else temp)
        total, n = total + (efficiency.rle or 0.0), n + 1
        if efficiency.collapse and onset is None:
            onset = t
    assert onset is not None
    return total / n, onset


@pytest.mark.parametrize("definition", ["rle_clean", "seed_1hz"])
def test_result_depends_little_on_the_sampling_rate(definition: str) -> None:
    means, onsets = zip(*(heating_run(dt, definition=definition) for dt in (1.0, 0.5, 0.2, 0.1)), strict=True)
    assert max(means) / min(means) < 1.03
    assert max(onsets) - min(onsets) <= 1.5


def test_whole_degrees_do_not_hide_the_collapse() -> None:
    onsets = [heating_run(dt, whole_degrees=True)[1] for dt in (1.0, 0.2, 0.1)]
    assert max(onsets) - min(onsets) <= 1.5


def test_a_device_held_at_its_limit_counts_as_hot() -> None:
    """A governor holds temperature constant: the seed's gate is off exactly then."""
    outcome = {}
    for definition in DEFINITIONS:
        efficiency = Efficiency(100.0, 85.0, definition=definition)
        collapsed = False
        for second in range(120):
            jitter = 30.0 * (second % 2) if second > 60 else 0.0
            efficiency.update(float(second), 95.0 - jitter, 90.0, 84.0)
            collapsed |= efficiency.collapse is True
        outcome[definition] = collapsed
    assert outcome == {"rle_clean": True, "seed_1hz": False}


def test_missing_power_makes_alpha_eta_and_says_so() -> None:
    efficiency = Efficiency(100.0, 85.0)
    for second in range(3):
        efficiency.update(float(second), 80.0, None, 60.0)
    assert efficiency.a_load == 0.8
    assert efficiency.rle == pytest.approx(1.0 / (1.0 + 1.0 / 600.0))
    assert efficiency.flags == ("power_missing",)


def test_unknown_ratings_are_never_guessed() -> None:
    efficiency = Efficiency()
    for second in range(30):
        efficiency.update(float(second), 80.0, 500.0, 60.0 + second)
    assert efficiency.flags == ("rated_power_missing", "temperature_limit_missing")
    assert efficiency.a_load == 0.8
    assert efficiency.t_sustain_s == 600.0
    assert efficiency.rle == pytest.approx(1.0 / (1.0 + 1.0 / 600.0))
    assert efficiency.collapse is False


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_missing_utilization_gives_no_result_and_leaves_no_trace(value: float | None) -> None:
    efficiency, clean = Efficiency(100.0, 85.0), Efficiency(100.0, 85.0)
    for second in range(30):
        efficiency.update(float(second), value if second == 10 else 70.0, 50.0, 60.0)
        clean.update(float(second), 70.0, 50.0, 60.0)
        if second == 10:
            assert efficiency.rle is None
            assert efficiency.rle_smoothed is None
            assert efficiency.rolling_peak is None
            assert efficiency.collapse is None
            assert efficiency.flags == ("utilization_missing",)
    assert efficiency.rle == clean.rle


def test_a_stale_temperature_is_no_longer_known() -> None:
    efficiency = Efficiency(100.0, 85.0)
    for second in range(20):
        efficiency.update(float(second), 70.0, 50.0, 60.0 + second if second < 10 else None)
        assert ("temperature_missing" in efficiency.flags) is (second > 14)
    assert efficiency.t_sustain_s == 600.0


def test_readings_that_go_back_in_time_are_left_out_and_counted() -> None:
    efficiency = Efficiency(100.0, 85.0)
    for second in (0.0, 1.0, 1.0, 0.5, math.nan, 2.0):
        efficiency.update(second, 70.0, 50.0, 60.0)
    assert efficiency.out_of_order == 3


def test_memory_does_not_grow_with_the_run() -> None:
    efficiency = Efficiency(100.0, 85.0)
    sizes = []
    for k in range(3000):
        efficiency.update(0.2 * k, 50.0 + k % 7, 50.0, 60.0)
        if k % 1000 == 999:
            sizes.append(len(pickle.dumps(efficiency)))
    assert max(sizes) < 1.1 * min(sizes)


def test_a_pickle_in_mid_stream_goes_on_bit_for_bit() -> None:
    rows = random_session(3, 400)
    efficiency = Efficiency(100.0, 85.0)
    resumed = efficiency
    for second, row in enumerate(rows):
        efficiency.update(1.1 * second, *row)
        if resumed is not efficiency:
            resumed.update(1.1 * second, *row)
            assert (efficiency.rle, efficiency.rle_smoothed, efficiency.rolling_peak) == (
                resumed.rle, resumed.rle_smoothed, resumed.rolling_peak)  # fmt: skip
        if second == 200:
            resumed = pickle.loads(pickle.dumps(efficiency))


def test_definition_id_names_version_and_parameters() -> None:
    text = Efficiency(300.0, 83.0, "seed_1hz").definition_id
    assert text.startswith("seed_1hz/1(rated_power_w=300.0,temperature_limit_c=83.0,window_s=5.0,")
    assert Efficiency(definition=EfficiencyDefinition("mine", 2)).definition_id.startswith("mine/2(")


def test_a_wrong_definition_or_rating_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: rle_clean, seed_1hz"):
        Efficiency(definition="rle")
    with pytest.raises(ValueError, match="rated_power_w is 0"):
        Efficiency(rated_power_w=0.0)


def test_the_stream_layer_offers_the_same_class() -> None:
    assert StreamEfficiency is Efficiency


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.one_of(st.none(), st.floats(width=32))] * 3, st.floats(0.01, 20)), max_size=60)
)
def test_any_reading_gives_finite_results_or_none(
    rows: list[tuple[float | None, float | None, float | None, float]],
) -> None:
    efficiency, now = Efficiency(100.0, 85.0), 0.0
    for util, power, temp, dt in rows:
        now += dt
        efficiency.update(now, util, power, temp)
        assert efficiency.rle is None or (math.isfinite(efficiency.rle) and efficiency.rle >= 0)
        assert efficiency.rle_smoothed is None or math.isfinite(efficiency.rle_smoothed)
