"""What the controls withhold, and that they leave the rest alone: uncoupled series with a memory left."""

import numpy as np
import pytest
from thermograd.analysis.calibration.processes import ar, cont
from thermograd.analysis.calibration.zoo import ZOO, Pair
from thermograd.stream.coupling.controls import _ECHO_SPANS, _SPANS, Controls
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.coupling.innovations import Innovations
from thermograd.stream.coupling.past import Echoes, Past

TWO_HOURS = 7_200


def watched(pair, monitor=None):
    """Return the monitor, the ticks of its alarms, and the largest e-value of the run."""
    monitor, alarms, largest = monitor or CouplingMonitor(), [], 0.0
    for tick, (x, y) in enumerate(zip(pair.x.tolist(), pair.y.tolist(), strict=True)):
        monitor.update(x, y)
        if monitor.detected:
            alarms.append(tick)
        if tick % 100 == 0:
            largest = max(largest, monitor.run_e_value)
    return monitor, alarms, largest


def without_controls(monkeypatch):
    monkeypatch.setattr(Controls, "confirms", lambda *_: True)
    for name in ("excess", "run_excess"):
        monkeypatch.setattr(Controls, name, lambda self: np.zeros((4, 1)))


@pytest.mark.parametrize(
    "name",
    [
        "cycle24",
        "cycle31-drift",
        "cycle24-held",
        "pulses20",
        "pulses17.3",
        "sawtooth30",
        "boxcar20",
        "period",
    ],
)
def test_rhythms_and_averaging_sensors_raise_no_alarm(name):
    """Two hours each; the full account is benchmarks/coupling_monitor.py."""
    monitor, alarms, largest = watched(ZOO[name].make(np.random.default_rng(1), TWO_HOURS))
    assert alarms == []
    assert largest < 20.0
    assert monitor.excess[0] > 0.2


@pytest.mark.parametrize("name", ["cycle24", "pulses20", "sawtooth30"])
def test_it_is_the_controls_that_withhold_them(name, monkeypatch):
    without_controls(monkeypatch)
    _, alarms, largest = watched(ZOO[name].make(np.random.default_rng(1), TWO_HOURS))
    assert len(alarms) >= 3
    assert largest > 1e6


def test_a_memory_that_comes_and_goes_raises_no_alarm():
    """No memory and a long one by turns of half an hour: the slow model takes minutes to follow."""
    noise = np.random.default_rng(2).standard_normal((2, TWO_HOURS))
    series = np.zeros_like(noise)
    for tick in range(1, TWO_HOURS):
        phi = 0.95 * (tick // 1800 % 2)
        series[:, tick] = phi * series[:, tick - 1] + np.sqrt(1.0 - phi**2) * noise[:, tick]
    monitor, alarms = CouplingMonitor(), 0
    for x, y in series.T.tolist():
        monitor.update(x, y)
        alarms += monitor.detected
    assert alarms == 0
    assert monitor.run_e_value < 20.0


def test_evaluations_ten_minutes_apart_that_nobody_logs_raise_no_alarm():
    rng, tick = np.random.default_rng(620), np.arange(15_000)
    during = (tick + 300) % 600 < 40
    x = rng.standard_normal(15_000) + 2.0 * during
    y = ar(rng, 15_000, 0.7).y - 3.0 * np.roll(during, 20)
    monitor, alarms, largest = watched(Pair(x, y))
    assert alarms == []
    assert largest < 20.0
    assert monitor.withheld > 0


def test_unpredictable_innovations_are_not_taxed():
    monitor, alarms, _ = watched(ar(np.random.default_rng(3), 4000))
    assert alarms == []
    assert monitor.withheld == 0
    assert monitor._bank.excess[0, 0] < 0.05


def test_controls_take_away_and_never_add(monkeypatch):
    pair = ZOO["boxcar20"].make(np.random.default_rng(4), 2500)
    taxed, _, _ = watched(pair, CouplingMonitor(alarm_ticks=1e200))
    without_controls(monkeypatch)
    untaxed, _, _ = watched(pair, CouplingMonitor(alarm_ticks=1e200))
    assert (taxed._bank.begun <= untaxed._bank.begun).all()
    assert taxed.e_value < 0.9 * untaxed.e_value
    assert taxed.run_e_value <= untaxed.run_e_value


def test_a_coupling_beside_which_nothing_moves_is_confirmed():
    monitor, alarms, largest = watched(cont(np.random.default_rng(5), 1500, 0.4, 5))
    assert alarms[0] < 600
    assert monitor.withheld == 0
    assert largest > 1e6


@pytest.mark.parametrize("name", ["slow30-noise.5", "two-stages", "spread13"])
def test_a_slow_response_is_found_and_named(name):
    pair = ZOO[name].make(np.random.default_rng(6), 2000)
    monitor = CouplingMonitor()
    for x, y in zip(pair.x.tolist(), pair.y.tolist(), strict=True):
        monitor.update(x, y)
        if monitor.detected:
            break
    assert monitor.detected
    found = monitor.of(0)
    assert found.lag == 1
    assert found.memory >= 4.0
    assert found.strength > 0.1


def test_what_hardware_leads_with_a_memory_is_found_the_other_way_round():
    pair = ZOO["slow30-noise.5"].make(np.random.default_rng(6), 3600)
    monitor = CouplingMonitor()
    for x, y in zip(pair.y.tolist(), pair.x.tolist(), strict=True):
        monitor.update(x, y)
        if monitor.detected:
            break
    assert monitor.detected
    assert monitor.of(0).lag == -1


def test_the_window_holds_the_latest_ticks_newest_first_however_long_it_runs():
    past, echoes, rng = Past(2, 2, 400), Echoes(2, (4.0, 20.0)), np.random.default_rng(7)
    new, kept = rng.uniform(-1.0, 1.0, (1500, 2)), []
    means = np.zeros((2, 2))
    for tick in range(1500):
        echo = np.clip(means * np.sqrt(2.0 * np.array([4.0, 20.0])), -1.0, 1.0)
        kept.append(echoes.take(new[tick]))
        np.testing.assert_allclose(kept[-1], echo.T, rtol=1e-12)
        means += (new[tick][:, None] - means) / np.array([4.0, 20.0])
        if tick % 15 == 14:
            block = slice(tick - 14, tick + 1)
            at = past.extend(np.concatenate((new[block, None], np.array(kept[block])), axis=1))
            assert np.array_equal(past.innovations(at, 15), new[block][::-1])
    before = past.before(at, 3, 2, range(0, 397, 4), echoes=False)
    for back in range(3):
        assert np.array_equal(before[back], new[::-1][back : back + 397 : 4].T)
    of_echoes = past.before(at, 3, 1, range(8, 397, 6), echoes=True)
    expected = np.array(kept)[::-1][2 + 8 : 2 + 397 : 6, :, 0].T
    assert np.array_equal(of_echoes[2, 0], expected)


def test_rounding_does_not_grow_in_the_model_of_a_long_run():
    """It grew by 1 / forgetting a value: with the default, the model was spoilt every seven hours at 1 Hz."""
    innovations = Innovations(1, forgetting=0.98)
    for value in np.random.default_rng(8).standard_normal(6000).tolist():
        innovations.update([value])
    covariance = innovations._covariance[:, :, 0]
    np.testing.assert_allclose(covariance, covariance.T, rtol=0.0, atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > 0.0


def test_sums_of_a_young_run_are_those_of_each_rate_alone():
    """Rates that do not differ yet share a row; here 200 ticks, from where on the quickest has its own."""
    rng = np.random.default_rng(5)
    ticks, lag = rng.normal(size=(330, 4, 2)), 7
    controls, sums = Controls(1, (12.0, 60.0, 300.0), 12), np.zeros(4)
    for first in range(0, 330, 11):
        controls.extend(ticks[first : first + 11], [True] * 11, np.ones((4, 1)), np.ones(4))
    for tick in range(330):
        rates = np.maximum((1 / 200, 1 / 1000, 1 / 5000, 0.0), 1 / (tick + 1))
        before = ticks[tick - lag, 0, 0] if tick >= lag else 0.0
        sums = sums * (1.0 - rates) + before * ticks[tick, 0, 1] * rates
    assert len(controls._sums) == 2
    found = controls._lags[[*controls._rows, -1], 0, 0, lag]
    assert found.tolist() == sums.tolist()


@pytest.mark.parametrize("length", [100, 700, 2000])
def test_there_are_sums_at_every_lag_that_a_run_is_old_enough_for(length):
    """They become more as it grows older, also while a sensor that was still awakes."""
    rng = np.random.default_rng(6)
    ticks = rng.normal(size=(length, 4, 3))
    ticks[: length // 2, :, 1] = 0.0
    controls = Controls(2, (12.0, 60.0, 300.0), 12)
    for first in range(0, length, 16):
        block = ticks[first : first + 16]
        controls.extend(block, [True] * len(block), np.ones((4, 2)), np.ones(4))
    singles, echoes = (np.array([*near, *far]) for near, far in (_SPANS, _ECHO_SPANS))
    found = [controls._lags[-1, 0], *controls._echoes[-1, 0].transpose(1, 0, 2)]
    for series, lags, sums in zip(range(4), (singles, *[echoes] * 3), found, strict=True):
        expected, before = np.zeros((2, len(lags))), np.concatenate((np.zeros(2000), ticks[:, series, 0]))
        for tick in range(length):
            products = before[tick + 2000 - lags] * ticks[tick, 0, 1:, None]
            expected = expected * (1.0 - 1.0 / (tick + 1)) + products * (1.0 / (tick + 1))
        assert sums.tolist() == expected[:, : sums.shape[1]].tolist()
        assert not expected[:, sums.shape[1] :].any()
