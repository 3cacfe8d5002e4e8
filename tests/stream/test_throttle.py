import functools
import math
import pickle
import random
from typing import Any

import naive_stream
import pytest
from thermograd.stream.throttle import ThrottleDetector, ThrottleEpisode

TRULY_THROTTLED = naive_stream.THROTTLED


@functools.cache
def recorded(scenario: str, preset: str) -> naive_stream.Recording:
    return naive_stream.record(scenario, preset)


def detect(
    recording: naive_stream.Recording, every: int = 1, without: tuple[str, ...] = (), lost: float = 0.0
) -> list[ThrottleEpisode]:
    """Episodes found in each `every`-th sample, without some columns and some of the samples."""
    detector = ThrottleDetector(recording.temperature_limit_c)
    found = []
    rng = random.Random(1)
    for i, (now_s, reading) in enumerate(recording.samples):
        if i % every == every - 1 and rng.random() >= lost:
            detector.update(now_s, {k: v for k, v in reading.items() if k not in without})
            found += [ThrottleEpisode(e.condition, e.onset_s, now_s) for e in detector.started]
    return found


def collapses(episodes: list[ThrottleEpisode]) -> list[ThrottleEpisode]:
    return [e for e in episodes if e.condition.startswith("collapse")]


@pytest.mark.parametrize("preset", ["dc", "desktop"])
@pytest.mark.parametrize("scenario", naive_stream.SCENARIOS)
def test_collapse_is_found_if_and_only_if_it_is_true(scenario: str, preset: str) -> None:
    recording = recorded(scenario, preset)
    assert bool(recording.truth) is (scenario in TRULY_THROTTLED)
    for every, allowed_s in ((1, 5.0), (10, 5.0), (50, 10.0)):
        found = collapses(detect(recording, every))
        assert len(found) == len(recording.truth)
        for episode, (begin, _) in zip(found, recording.truth, strict=True):
            assert episode.condition == ("collapse.brake" if scenario == "brake" else "collapse.thermal")
            assert -2.0 <= episode.last_s - begin <= allowed_s
            assert abs(episode.onset_s - begin) <= max(2.0, 0.1 * every)


@pytest.mark.parametrize("preset", ["dc", "desktop"])
@pytest.mark.parametrize("scenario", naive_stream.SCENARIOS)
def test_a_third_of_the_samples_may_be_missing(scenario: str, preset: str) -> None:
    recording = recorded(scenario, preset)
    found = collapses(detect(recording, 10, lost=0.3))
    assert len(found) == len(recording.truth)
    for episode, (begin, _) in zip(found, recording.truth, strict=True):
        assert episode.last_s - begin <= 6.0


NO_BITS = ("clock_event_mask", "throttled_thermal_ns", "throttled_power_ns", "throttled_brake_ns")


@pytest.mark.parametrize("scenario", naive_stream.SCENARIOS)
def test_without_bits_heat_and_clock_loss_tell(scenario: str) -> None:
    recording = recorded(scenario, "dc")
    found = collapses(detect(recording, 10, without=NO_BITS))
    expected = scenario in naive_stream.THROTTLED and scenario != "brake"  # which cannot be told
    assert [e.condition for e in found] == ["collapse.thermal"] * expected


def test_the_counters_alone_tell_as_well_as_the_bits() -> None:
    for scenario, expected in (("airflow_fail", "collapse.thermal"), ("brake", "collapse.brake")):
        recording = recorded(scenario, "dc")
        found = collapses(detect(recording, 10, without=("clock_event_mask",)))
        assert [e.condition for e in found] == [expected]


@pytest.mark.parametrize("scenario", ["airflow_fail", "inlet_rise"])
def test_a_warning_comes_before_the_collapse(scenario: str) -> None:
    recording = recorded(scenario, "dc")
    found = {e.condition: e.last_s for e in detect(recording)}
    assert found["throttle.warn"] < recording.truth[0][0]
    assert found["throttle.warn"] < found["collapse.thermal"]


def test_a_power_cap_is_normal_operation() -> None:
    assert [e.condition for e in detect(recorded("power_cap", "dc"), 10)] == ["power_limited"]


def reading(**values: Any) -> dict[str, Any]:
    return {"sm_clock_mhz": 1980.0, "temperature_c": 60.0, "clock_event_mask": 0, **values}


def test_states_follow_the_gravest_condition_and_the_episode_ends_after_quiet() -> None:
    detector = ThrottleDetector(temperature_limit_c=87.0)
    states, ended = [], []
    for second in range(160):
        slow = 60 <= second < 100
        detector.update(
            float(second),
            reading(sm_clock_mhz=1500.0, clock_event_mask=0x20, temperature_c=87.0) if slow else reading(),
        )
        states.append(detector.state)
        ended += list(detector.ended)
    assert states[59] == "normal"
    assert states[62:100] == ["collapse.thermal"] * 38
    assert states[-1] == "normal"
    collapse = next(e for e in ended if e.condition == "collapse.thermal")
    assert (collapse.onset_s, collapse.end_s) == (60.0, 99.0)
    assert detector.episodes == {}
    assert detector.usual_clock_mhz == 1980.0


def test_long_throttling_does_not_become_the_usual_clock() -> None:
    detector = ThrottleDetector()
    for second in range(4000):
        slow = second >= 100
        detector.update(
            float(second), reading(sm_clock_mhz=1500.0, clock_event_mask=0x40) if slow else reading()
        )
    assert detector.state == "collapse.thermal"
    assert detector.usual_clock_mhz == 1980.0


def test_throttling_too_short_for_any_bit_to_be_seen_is_warned_of() -> None:
    detector = ThrottleDetector(temperature_limit_c=87.0)
    throttled_ns = 0
    onsets = []
    for second in range(60):
        throttled_ns += 150_000_000 if second == 40 else 0
        detector.update(float(second), reading(throttled_thermal_ns=throttled_ns))
        onsets += [(e.condition, e.onset_s) for e in detector.started]
    assert onsets == [("throttle.warn", 40.0)]


def test_a_counter_that_starts_anew_tells_nothing() -> None:
    detector = ThrottleDetector()
    for second in range(30):
        detector.update(float(second), reading(throttled_thermal_ns=10**12 if second < 15 else 0))
        assert detector.state == "normal"


def test_an_idle_device_has_lost_no_speed() -> None:
    for idle in ({"clock_event_mask": 0x1}, {"utilization_pct": 0.0}):
        detector = ThrottleDetector(temperature_limit_c=87.0)
        for second in range(120):
            values = reading(temperature_c=86.0)
            if second > 60:
                values = {**values, "sm_clock_mhz": 345.0, **idle}
            detector.update(float(second), values)
            assert "collapse.thermal" not in detector.episodes


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_not_known_meets_no_condition(missing: float | None) -> None:
    detector = ThrottleDetector(temperature_limit_c=87.0)
    for second in range(60):
        detector.update(
            float(second),
            {"sm_clock_mhz": missing, "temperature_c": missing, "clock_event_mask": None,
             "throttled_thermal_ns": None, "utilization_pct": missing},
        )  # fmt: skip
        assert detector.state == "unknown"
    assert detector.episodes == {}


def test_without_a_limit_the_temperature_rules_are_off() -> None:
    detector = ThrottleDetector()
    for second in range(60):
        detector.update(float(second), {"temperature_c": 120.0, "sm_clock_mhz": 2000.0 - 20.0 * second})
    assert detector.state == "unknown"


def test_hardware_slowdown_is_heat_unless_it_is_the_brake() -> None:
    for mask, expected in ((0x8, "collapse.thermal"), (0x88, "collapse.brake"), (0x48, "collapse.thermal")):
        detector = ThrottleDetector()
        for second in range(60):
            slow = second > 30
            values = reading(sm_clock_mhz=990.0, clock_event_mask=mask) if slow else reading()
            detector.update(float(second), values)
        assert detector.state == expected


def test_samples_that_go_back_in_time_are_left_out_and_counted() -> None:
    detector = ThrottleDetector()
    for second in (0.0, 1.0, 1.0, 0.5, 2.0):
        detector.update(second, reading())
    assert detector.out_of_order == 2


def test_memory_does_not_grow_and_a_pickle_goes_on_the_same() -> None:
    recording = recorded("airflow_fail", "dc")
    detector = ThrottleDetector(recording.temperature_limit_c)
    resumed = detector
    for i, (now_s, values) in enumerate(recording.samples):
        detector.update(now_s, values)
        if resumed is not detector:
            resumed.update(now_s, values)
            assert (detector.state, detector.clock_loss) == (resumed.state, resumed.clock_loss)
        if i == 4200:
            resumed = pickle.loads(pickle.dumps(detector))
    long = ThrottleDetector()
    for k in range(30_000):
        long.update(0.2 * k, reading())
    assert len(pickle.dumps(long)) < 120_000


def test_parameters_are_recorded_and_a_wrong_limit_is_refused() -> None:
    assert ThrottleDetector(87.0).definition_id.startswith("throttle/1(temperature_limit_c=87.0,")
    with pytest.raises(ValueError, match="temperature_limit_c is nan"):
        ThrottleDetector(math.nan)


@pytest.mark.parametrize("seed", range(4))
def test_readings_that_are_like_the_one_before_are_judged_as_all_others(seed: int) -> None:
    """Against a detector that takes no short way with them, reading by reading."""
    rng = random.Random(seed)
    detector, thorough = ThrottleDetector(87.0), ThrottleDetector(87.0)
    thorough._has_limits = False
    now_s, sample = 0.0, dict.fromkeys(("throttled_thermal_ns", "throttled_brake_ns"), 0)
    for _ in range(3000):
        now_s += rng.choice((0.02, 0.2, 0.2, 0.5, 4.0, 0.0 if seed else 0.2))
        if rng.random() < 0.1:
            sample |= {
                "clock_event_mask": rng.choice((0, 0, 0, 0x20, 0x80, 0x4, 0x1, None, math.nan)),
                "temperature_c": rng.choice((60.0, 70.0, 84.0, 86.0, None)),
                "sm_clock_mhz": rng.choice((1980.0, 1980.0, 1500.0, None)),
                "utilization_pct": rng.choice((97.0, 5.0, None)),
                "throttled_power_ns": rng.choice((0, None)),
            }
        if rng.random() < 0.05:
            sample["throttled_thermal_ns"] += 10**8
        for each in (detector, thorough):
            each.update(now_s, dict(sample))
        told = ("state", "episodes", "started", "ended", "clock_loss", "usual_clock_mhz", "out_of_order")
        assert all(getattr(detector, name) == getattr(thorough, name) for name in told)
        assert (detector.thermal_share, detector.brake_share) == (
            thorough.thermal_share,
            thorough.brake_share,
        )
