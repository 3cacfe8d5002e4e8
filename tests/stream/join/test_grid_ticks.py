import math
import random

import pytest
from thermograd.stream.join.grid_ticks import SENSORS, Ticks, natural_log

SECOND = 10**9
NOBODY = frozenset()


def step(time_s, seq=0, **values):
    time_ns = round(time_s * SECOND)
    values = {"time_ns": time_ns, "seq": seq, "step": seq, "grad_norm": 1.0, **values}
    return (time_ns, seq, "r0"), values


def sample(time_s, seq=0, device="gpu", **values):
    time_ns = round(time_s * SECOND)
    return (time_ns, seq, "agent"), {"time_ns": time_ns, "seq": seq, "device": device, **values}


def told(ticks, until_s, device="gpu"):
    return list(ticks.release(device, round(until_s * SECOND)))


def test_a_tick_holds_the_mean_log_norm_and_the_last_sample_within_it():
    ticks = Ticks()
    for at, norm in ((10.2, 2.0), (10.6, 8.0), (11.0, 4.0), (11.1, 100.0)):  # its end belongs to a tick
        ticks.step(*step(at, grad_norm=norm, learning_rate=0.5, step_time_s=0.4), NOBODY)
    ticks.sample(*sample(10.1, temperature_c=50.0, power_w=200.0, utilization_pct=90.0))
    ticks.sample(*sample(10.9, 1, temperature_c=51.0, utilization_pct=80.0))
    assert told(ticks, 10.99) == []
    (tick,) = told(ticks, 11.0)
    assert tick.x == pytest.approx(math.log(4.0), rel=1e-15)
    assert tick.sensors[0] == 51.0
    assert math.isnan(tick.sensors[1])  # the last sample did not know the power
    assert tick.drivers == pytest.approx((0.5, 0.4, 80.0))
    assert tick.cause["seq"] == 1
    assert told(ticks, 11.0) == []


def test_a_tick_knows_where_in_the_epoch_its_last_step_was():
    ticks = Ticks()
    for at, epoch in ((4.2, 1.5), (4.7, 1.625), (4.9, None), (5.5, None)):
        ticks.step(*step(at, round(at * 10), epoch=epoch), NOBODY)
    for at in (4.5, 5.5):
        ticks.sample(*sample(at))
    first, second = told(ticks, 6.0)
    assert first.epoch == 1.625
    assert math.isnan(second.epoch)


def test_norms_that_have_no_logarithm_do_not_enter():
    ticks = Ticks()
    for seq, norm in enumerate((0.0, math.nan, math.inf, None, 3.0)):
        ticks.step(*step(5.1 + 0.1 * seq, seq, grad_norm=norm), NOBODY)
    ticks.sample(*sample(5.5))
    (tick,) = told(ticks, 6.0)
    assert tick.x == pytest.approx(math.log(3.0))
    assert tick.step == 4


def test_throttled_time_is_what_the_counter_gained_since_the_tick_before():
    ticks = Ticks()
    for at, counter in enumerate((5, 5, 300_000_005, None, 7, 7)):
        ticks.sample(*sample(at + 0.5, at, throttled_thermal_ns=counter))
    seconds = [tick.sensors[SENSORS.index("throttled_s")] for tick in told(ticks, 9)]
    assert seconds[1:3] == [0.0, 0.3]
    assert [math.isnan(value) for value in seconds] == [True, False, False, True, True, False]


def test_seconds_without_anything_are_empty_ticks_but_not_for_ever():
    ticks = Ticks(most_empty=5)
    for at in (1.5, 4.5, 1000.5):
        ticks.sample(*sample(at, temperature_c=at))
    found = told(ticks, 2000)
    assert [tick.cause is None for tick in found] == [False, True, True, False, *[True] * 5, False]
    assert math.isnan(found[1].x)


def test_a_step_that_was_too_late_for_one_device_is_told_to_the_other():
    ticks = Ticks()
    ticks.step(*step(5.5), frozenset(["gpu"]))
    ticks.step(*step(5.6, grad_norm=7.0), frozenset(["*"]))
    for device in ("gpu", "other"):
        ticks.sample(*sample(5.5, device=device))
    assert math.isnan(told(ticks, 6)[0].x)
    assert told(ticks, 6, "other")[0].x == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_delivery_does_not_matter(seed):
    rng = random.Random(seed)
    steps = [step(rng.uniform(0, 30), seq, grad_norm=rng.uniform(0.1, 9.0)) for seq in range(80)]
    samples = [sample(rng.uniform(0, 30), seq, temperature_c=rng.uniform(40, 60)) for seq in range(60)]

    def run(mixed):
        ticks = Ticks()
        for key, values in mixed:
            if "device" in values:
                ticks.sample(key, values)
            else:
                ticks.step(key, values, NOBODY)
        return [repr(tick) for tick in told(ticks, 40)]

    mixed = steps + samples
    expected = run(sorted(mixed, key=lambda event: event[0]))
    rng.shuffle(mixed)
    assert run(mixed) == expected


def test_memory_holds_only_what_is_still_asked_for():
    ticks = Ticks()
    for second in range(500):
        ticks.step(*step(second + 0.5, second), NOBODY)
        ticks.sample(*sample(second + 0.6, second))
        told(ticks, second - 2)
        ticks.forget((second - 2) * SECOND)
        assert len(ticks._steps) <= 4
        assert len(ticks._devices["gpu"].samples) <= 4


@pytest.mark.parametrize("x", [5e-324, 1e-300, 0.1, 0.7071067811865475, 1.0, math.e, 123.456, 1.7e308])
def test_the_logarithm_is_that_of_the_library(x):
    assert natural_log(x) == pytest.approx(math.log(x), rel=4e-16, abs=1e-16)
