"""Time constants of a modelled device, whose truth is capacity over conductance of its heat sink."""

import numpy as np
import pytest
from series_in_memory import series_of
from thermograd.analysis.run.readings.time_constants import time_constants_s
from thermograd.ingest.simulate.gpu import PRESETS, SimulatedGpu

_SHOWN = ("power_w", "utilization_pct", "temperature_c")


def trained(
    preset="dc",
    seed=0,
    *,
    before=60,
    training=600,
    after=300,
    airflow=1.0,
    every=1.0,
    pause=None,
    shown=_SHOWN,
):
    """A modelled GPU before, while and after training; `pause` is (period, length) of evaluations."""
    gpu = SimulatedGpu(preset, seed=seed, airflow=airflow)
    rng = np.random.default_rng(seed)
    at = np.arange(0, before + training + after, every)
    since = at - before
    busy = (since >= 0) & (since < training)
    paused = (since % pause[0] > pause[0] - pause[1]) if pause else np.zeros(at.size, dtype=bool)
    load = np.where(
        busy, np.where(paused, 0.15, np.clip(0.93 + 0.05 * rng.standard_normal(at.size), 0, 1)), 0.0
    )
    rows = []
    for share in load:
        gpu.advance(every, float(share))
        reading = gpu.read()
        rows.append([reading[name] for name in shown])
    steps = np.arange(before + 0.4, before + training, 0.4)
    marks = None
    if pause:
        steps = steps[(steps - before) % pause[0] <= pause[0] - pause[1]]
        marks = {"evaluation": np.arange(before + pause[0] - pause[1], before + training, pause[0])}
    samples = dict(zip(shown, np.array(rows, dtype=np.float64).T, strict=True))
    return series_of(steps, {"grad_norm": np.ones(steps.size)}, at + every, samples, marks)


def found_in(data):
    return time_constants_s(data, data.devices["gpu0"])


def truth_s(preset, airflow=1.0):
    part = PRESETS[preset]
    return part.sink_j_per_k / (airflow * part.conductance_w_per_k)


@pytest.mark.parametrize(("preset", "airflow"), [("dc", 1.0), ("dc", 1.6), ("dc", 0.7), ("restricted", 1.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_start_and_end_of_training_show_the_time_constant(preset, airflow, seed):
    (found,) = found_in(trained(preset, seed, airflow=airflow))
    assert found.tau_s == pytest.approx(truth_s(preset, airflow), rel=0.15)
    assert 0.85 * found.low_s < truth_s(preset, airflow) < 1.15 * found.high_s
    assert found.low_s < found.tau_s < found.high_s < 1.6 * found.low_s
    assert found.source == "start of training, end of training"


@pytest.mark.parametrize("every", [0.2, 5.0])
def test_the_rate_of_the_samples_does_not_matter(every):
    (found,) = found_in(trained(every=every))
    assert found.tau_s == pytest.approx(truth_s("dc"), rel=0.15)


def test_pauses_for_evaluations_show_it_too():
    found = found_in(trained(before=0, after=0, training=1500, pause=(300, 120)))
    assert found[0].tau_s == pytest.approx(truth_s("dc"), rel=0.2)
    assert "evaluation" in found[0].source


def test_without_a_sensor_of_load_the_steps_themselves_tell_when_it_is_loaded():
    (found,) = found_in(trained(shown=("temperature_c",)))
    assert found.tau_s == pytest.approx(truth_s("dc"), rel=0.25)


def test_where_no_load_steps_nothing_is_claimed():
    assert found_in(trained(before=0, after=0)) == []  # at work throughout
    assert found_in(trained(training=40, before=20, after=10)) == []  # too short
    assert found_in(trained(shown=("power_w", "utilization_pct"))) == []
    data = trained(before=60, training=600, after=0)
    flat = {"power_w": data.devices["gpu0"].signal("power_w"), "temperature_c": np.full(660, 50.0)}
    assert found_in(series_of(np.arange(60.0, 660), {}, np.arange(660.0), flat)) == []


def test_a_temperature_that_does_not_follow_the_load_has_no_time_constant():
    data = trained(training=300, after=200)
    power, sampled = data.devices["gpu0"].signal("power_w"), np.arange(560.0)
    found = []
    for seed in range(25):
        walk = 60 + np.cumsum(np.random.default_rng(seed).normal(0, 0.3, sampled.size))
        samples = {"power_w": power, "temperature_c": np.round(walk)}
        found += found_in(series_of(np.arange(60.0, 360), {}, sampled, samples))
    assert len(found) <= 1


def test_holes_and_wrong_time_stamps_are_no_error():
    data = trained()
    device = data.devices["gpu0"]
    kept = np.random.default_rng(4).random(device.time_ns.size) > 0.15
    at = (device.time_ns - device.time_ns[0])[kept] / 1e9
    samples = {name: device.signal(name)[kept] for name in _SHOWN}
    (found,) = found_in(series_of(np.arange(60.4, 660, 0.4), {}, at, samples))
    assert found.tau_s == pytest.approx(truth_s("dc"), rel=0.15)
    at[-1] += 1e9  # decades later
    assert found_in(series_of(np.arange(60.4, 660, 0.4), {}, at, samples)) == []
