import copy
import math
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__
from river_contract import run_checks
from thermograd.analysis.calibration.processes import NULLS, ar, autoregressive, cont, driver
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.coupling.innovations import Innovations


def feed(monitor, pair, drivers=None):
    """Return the ticks at which the alarm was raised."""
    alarms = []
    for tick, (x, y) in enumerate(zip(pair.x.tolist(), pair.y.tolist(), strict=True)):
        monitor.update(x, y, () if drivers is None else drivers[tick].tolist())
        if monitor.detected:
            alarms.append(tick)
    return alarms


@pytest.mark.parametrize(("rho", "within"), [(0.5, 260), (0.3, 700)])
def test_a_coupling_is_found_soon_with_its_lag_and_sign(rho, within):
    for lag, sign in ((5, 1.0), (-3, -1.0), (0, 1.0)):
        pair = (
            cont(np.random.default_rng(lag + 10), within + 120, rho, lag) if lag else same_second(rho, within)
        )
        monitor = CouplingMonitor()
        for x, y in zip(pair[0].tolist(), (sign * pair[1]).tolist(), strict=True):
            monitor.update(x, y)
            if monitor.detected:
                break
        assert monitor.detected
        assert monitor.lag == lag
        assert 0.4 * rho < sign * monitor.strength < 1.6 * rho
        assert monitor.e_value >= 259_200


def same_second(rho, within):
    noise = np.random.default_rng(1).standard_normal((2, within + 400))
    return autoregressive(noise[0], 0.9), autoregressive(
        rho * noise[0] + math.sqrt(1 - rho**2) * noise[1], 0.9
    )


@pytest.mark.parametrize("name", ["ar.98", "trend", "heavy", "hetero", "kink"])
def test_series_that_only_look_alike_raise_no_alarm(name):
    """An hour each; the full account is benchmarks/coupling_monitor.py."""
    pair = NULLS[name](np.random.default_rng(3), 3600)
    monitor = CouplingMonitor()
    assert feed(monitor, pair) == []
    assert monitor.run_e_value < 20


def test_a_common_driver_is_no_coupling_if_it_is_told():
    pair = driver(np.random.default_rng(0), 2500)
    assert feed(CouplingMonitor(), pair) != []
    told = CouplingMonitor(drivers=1)
    assert feed(told, pair, pair.drivers) == []
    coupled = driver(np.random.default_rng(0), 1000, rho=0.5)
    assert feed(CouplingMonitor(drivers=1), coupled, coupled.drivers) != []


def test_after_an_alarm_the_bets_begin_anew_but_not_those_of_the_run():
    pair = cont(np.random.default_rng(0), 2500, 0.6, 4)
    monitor, largest = CouplingMonitor(), 0.0
    alarms = 0
    for x, y in zip(pair.x.tolist(), pair.y.tolist(), strict=True):
        alarms += monitor.detected
        after_alarm = monitor.detected
        monitor.update(x, y)
        largest = max(largest, monitor.run_e_value)
        if after_alarm:
            assert monitor.e_value < 100
    assert monitor.alarms == alarms + monitor.detected > 5
    assert largest > 1e20
    assert monitor.run_e_value == largest or monitor.run_e_value > 1e15


def test_the_run_level_e_value_stays_within_its_bounds():
    monitor = CouplingMonitor()
    monitor._bank.fortune[:] = 1e199
    noise = np.random.default_rng(0).standard_normal(1000).tolist()
    for tick in range(3, 1000):
        monitor.update(noise[tick], noise[tick - 3])
    assert 1e197 < monitor.run_e_value <= 1e200
    assert monitor._bank.fortune.min() >= 1e-200


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_no_bet_and_leaves_no_trace(bad):
    pair = ar(np.random.default_rng(4), 1500)
    with_bad, without = CouplingMonitor(), CouplingMonitor()
    for tick, (x, y) in enumerate(zip(pair.x.tolist(), pair.y.tolist(), strict=True)):
        if tick == 900:
            for _ in range(40):
                with_bad.update(bad, bad)
        with_bad.update(x, y)
        without.update(x, y)
        if tick > 960:
            assert (
                with_bad._bank.innovations._weights.tobytes() == without._bank.innovations._weights.tobytes()
            )
    assert math.isfinite(with_bad.e_value)
    assert with_bad.e_value < 1e5


@pytest.mark.parametrize("huge", [1e6, 1e12, 1e300])
@pytest.mark.parametrize("at", [7, 500])
def test_a_huge_value_raises_no_alarm_and_does_not_blind(huge, at):
    pair = cont(np.random.default_rng(5), 1500, 0.5, 5)
    uncoupled = ar(np.random.default_rng(6), 1000)
    x, y = np.append(uncoupled.x, pair.x), np.append(uncoupled.y, pair.y)
    x[at], y[at + 5], x[at + 100], y[at + 101] = huge, huge, -huge, huge
    monitor = CouplingMonitor()
    first = None
    for tick, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        monitor.update(a, b)
        if monitor.detected and first is None:
            first = tick
    assert first is not None
    assert 1000 < first < 1350


def test_a_sensor_that_does_not_move_raises_no_alarm_however_long():
    """The number of bets begun grows by one a tick: without a word of news none must be begun."""
    monitor = CouplingMonitor(alarm_ticks=1000.0)
    rng = random.Random(1)
    for tick in range(4000):
        monitor.update(rng.gauss(0, 1), 50.0 + (tick < 200) * rng.gauss(0, 1))
    assert monitor.alarms == 0


def test_steps_slower_than_ticks_are_found_coupled_too():
    """x is known at every third tick only."""
    noise = np.random.default_rng(7).standard_normal((2, 6000))
    behind = np.where(np.arange(6000) % 3 == 0, noise[0], 0.0)
    y = autoregressive(np.roll(behind, 4) + noise[1], 0.8)
    monitor = CouplingMonitor()
    for tick in range(6000):
        monitor.update(noise[0, tick] if tick % 3 == 0 else None, float(y[tick]))
        if monitor.detected:
            break
    assert monitor.detected
    assert monitor.lag == 4


def test_the_future_changes_no_past_value():
    pair = cont(np.random.default_rng(8), 800, 0.3, 5)
    other = ar(np.random.default_rng(9), 800)
    one, two = CouplingMonitor(), CouplingMonitor()
    for tick in range(800):
        first = (float(pair.x[tick]), float(pair.y[tick]))
        one.update(*first)
        two.update(*(first if tick < 500 else (float(other.x[tick]), float(other.y[tick]))))
        if tick < 500:
            assert (one.e_value, one.run_e_value, one.strength) == (
                two.e_value,
                two.run_e_value,
                two.strength,
            )
    assert one.e_value != two.e_value


def test_a_pickle_or_copy_in_mid_stream_goes_on_bit_for_bit():
    pair = cont(np.random.default_rng(10), 600, 0.3, 5)
    monitor = CouplingMonitor()
    for x, y in zip(pair.x[:301].tolist(), pair.y[:301].tolist(), strict=True):
        monitor.update(x, y)
    others = [pickle.loads(pickle.dumps(monitor)), copy.deepcopy(monitor)]
    for x, y in zip(pair.x[301:].tolist(), pair.y[301:].tolist(), strict=True):
        monitor.update(x, y)
        for other in others:
            other.update(x, y)
            assert (other.e_value, other.run_e_value) == (monitor.e_value, monitor.run_e_value)


def test_several_sensors_share_one_guarantee_and_a_missing_one_costs_nothing():
    pair, noise = cont(np.random.default_rng(11), 1200, 0.5, 5), np.random.default_rng(12).normal(size=1200)
    bank = CouplingMonitor(sensors=3)
    for tick in range(1200):
        bank.update(float(pair.x[tick]), (float(noise[tick]), float(pair.y[tick]), math.nan))
        seen = bank.e_values[:2].sum() / 2
        if tick > 200 and not bank.detected:
            assert bank.e_value == pytest.approx(seen)
        if bank.detected:
            break
    assert bank.detected
    assert bank.strongest()[:2] == (1, 5)
    assert bank.seen.tolist() == [True, True, False]


def test_innovations_of_an_autoregressive_series_are_its_noise():
    noise = np.random.default_rng(13).standard_normal(4000)
    series = 60.0 + 5.0 * autoregressive(noise, 0.95)
    innovations = Innovations(1)
    found = np.array([innovations.update(np.array([value]))[0] for value in series.tolist()])
    expected = np.clip(noise, -2, 2) / 2
    assert np.corrcoef(found[500:], expected[500:])[0, 1] > 0.98
    assert abs(found[500:].mean()) < 0.03
    assert np.abs(np.corrcoef(found[501:], found[500:-1])[0, 1]) < 0.05


def test_a_driver_that_never_moves_does_not_blow_up_the_model():
    innovations = Innovations(1, drivers=2)
    noise = np.random.default_rng(14).standard_normal(9_000)
    for value in noise.tolist():
        innovations.update(np.array([value]), (1e-4, 0.0))
    assert float(innovations._covariance.max()) <= 1.1e3
    assert abs(innovations._weights[:4]).max() < 0.3


SCRIPT = """
import hashlib, numpy as np
from thermograd.stream.coupling.detector import CouplingMonitor
noise = np.random.default_rng(0).standard_normal((900, 6))
bank, seen = CouplingMonitor(2, sensors=3), hashlib.sha256()
for row in noise.tolist():
    bank.update(row[0], [row[1], row[2] + row[0], row[3]], row[4:])
    seen.update(bank.e_values.tobytes() + bank.run_e_values.tobytes())
print(seen.hexdigest())
"""


def test_threads_and_vector_instructions_change_no_bit():
    digests = set()
    for environment in (
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"},
        {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)},
    ):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
        result = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=True
        )
        digests.add(result.stdout)
    assert len(digests) == 1


def test_passes_river_own_contract_and_refuses_what_is_out_of_range():
    names = run_checks(CouplingMonitor())
    assert {"check_repr", "check_clone_same_class", "check_pickling_supports_roundtrip"} < set(names)
    with pytest.raises(ValueError, match="alarm_ticks=0"):
        CouplingMonitor(alarm_ticks=0)
    with pytest.raises(ValueError, match="1 drivers given"):
        CouplingMonitor().update(1.0, 1.0, [2.0])
