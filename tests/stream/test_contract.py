"""One list of checks for every estimator of the stream layer, found by looking, not by listing."""

import importlib
import inspect
import itertools
import math
import pickle
import pkgutil
import random

import pytest
import thermograd.stream
from river import base
from river_contract import run_checks
from thermograd.store.efficiency.estimator import Efficiency
from thermograd.store.experiment.schedules import Schedule, Switchback
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.coupling.innovations import Innovations
from thermograd.stream.throttle import ThrottleDetector

# optional arguments of `update` and such of the constructor that have no default
SENSORS = ("sm_clock_mhz", "temperature_c", "clock_event_mask", "throttled_thermal_ns")


def estimators():
    """Every public class of the stream layer that learns by `update` and tells by attributes."""
    found = {}
    for info in pkgutil.walk_packages(thermograd.stream.__path__, "thermograd.stream."):
        for name, of in vars(importlib.import_module(info.name)).items():
            is_ours = inspect.isclass(of) and of.__module__.startswith(
                ("thermograd.stream", "thermograd.store")
            )
            if is_ours and hasattr(of, "update") and not name.startswith("_") and not name.endswith("Rule"):
                found[name] = of
    return found


FOUND = estimators()
RESULTS = {
    "SpikeDetector": ("detected", "episode_started", "score", "level", "deviation", "threshold", "rebased"),
    "LevelShift": ("detected", "episode_started", "score", "recent", "level", "threshold"),
    "Episode": ("started", "active"),
    "RollingCorrelation": ("get",),
    "CouplingMonitor": ("detected", "e_value", "run_e_value", "strength", "lag"),
    "Innovations": ("known", "frozen"),
    "Standardizer": (),
    "ThrottleDetector": ("state", "clock_loss", "usual_clock_mhz", "thermal_share", "brake_share"),
    "Efficiency": ("rle", "rle_smoothed", "rolling_peak", "collapse", "stability", "a_load", "flags"),
    "RankGroups": (),
    "SlowRanks": (),
    "EProcess": ("e_value", "largest", "n", "log_e_value"),
    "BlockOutcomes": ("contrasts",),
    "RollingVariance": ("mean", "variance"),
}


def test_the_set_that_is_checked_is_the_set_that_there_is():
    assert set(FOUND) == set(RESULTS)


def make(name):
    of = FOUND[name]
    if of is CouplingMonitor:
        return of(drivers=1, alarm_ticks=50.0, sensors=2)
    if name == "Standardizer":
        return of(3)
    if of is Innovations:
        return of(3)
    if of is Efficiency:
        return of(300.0, 87.0)
    if of is ThrottleDetector:
        return of(87.0)
    if name == "RankGroups":
        return of(2)
    if name == "BlockOutcomes":
        return of(Schedule("duty", Switchback(10), seed=1, start_step=5))
    return of()


def inputs(name, count, seed=0):
    """Arguments of `update`: noise with a disturbance now and then, and what is not finite."""
    rng = random.Random(seed)
    for i in range(count):
        shock = rng.choice([10.0, -10.0, math.nan, math.inf]) if rng.random() < 0.03 else 0.0
        x, y = rng.gauss(5.0, 0.3) + shock, rng.gauss(5.0, 0.3)
        if name in ("SpikeDetector", "LevelShift"):
            yield (x,)
        elif name == "RollingVariance":
            yield (y,)
        elif name == "Episode":
            yield (x > 5.3, x)
        elif name == "RollingCorrelation":
            yield (x, y)
        elif name == "CouplingMonitor":
            yield (x, [y, x + y], [y])
        elif name in ("Innovations", "Standardizer"):
            yield (array(x, y, x + y),)
        elif name == "ThrottleDetector":
            yield (
                float(i),
                dict(zip(SENSORS, (1900.0 + 10 * x, 80.0 + x, rng.choice([0, 0x20]), i), strict=True)),
            )
        elif name == "Efficiency":
            yield (float(i), 20 * x, 40 * x, 60.0 + y)
        elif name == "EProcess":
            yield (x - 5.0,)
        elif name == "BlockOutcomes":
            yield (i, x)
        elif name == "SlowRanks":
            yield (i % 4, i * 10**8, x)
        elif name == "RankGroups":
            stamp = {"time_ns": i * 10**9, "seq": i, "step": i, "rank": i % 2}
            yield (stamp, f"r{i % 2}", [])
        else:
            raise AssertionError(f"no input is known for {name}")


def array(*values):
    import numpy as np

    return np.array(values)


def look(estimator, name):
    """Everything the estimator tells, as text: NaN equals NaN, every bit counts."""
    values = [getattr(estimator, attribute) for attribute in RESULTS[name]]
    return repr([value() if callable(value) else value for value in values])


every = pytest.mark.parametrize("name", sorted(FOUND))


@every
def test_update_returns_nothing_or_what_it_is_documented_to_return(name):
    returns = {"Innovations", "Standardizer", "RankGroups", "SlowRanks"}
    estimator = make(name)
    for arguments in inputs(name, 5):
        assert (estimator.update(*arguments) is not None) is (name in returns)


@every
def test_the_future_changes_no_past_result(name):
    """Two streams that agree up to a moment and differ from then on."""
    one, other = make(name), make(name)
    past = list(inputs(name, 400))[:300]
    futures = (list(inputs(name, 400))[300:], list(inputs(name, 400, seed=9))[300:])
    seen = []
    for estimator, future in zip((one, other), futures, strict=True):
        told = []
        for arguments in itertools.chain(past, future):
            estimator.update(*arguments)
            told.append(look(estimator, name))
        seen.append(told)
    assert seen[0][:300] == seen[1][:300]
    if RESULTS[name]:
        assert seen[0] != seen[1] or name == "Innovations"  # and the comparison can tell


@every
def test_looking_changes_nothing(name):
    looked, left = make(name), make(name)
    for arguments in inputs(name, 200):
        looked.update(*arguments)
        left.update(*arguments)
        for _ in range(3):
            look(looked, name)
    assert look(looked, name) == look(left, name)


@every
def test_a_pickle_in_mid_stream_goes_on_bit_for_bit(name):
    estimator = make(name)
    stream = list(inputs(name, 400))
    for arguments in stream[:201]:
        estimator.update(*arguments)
    resumed = pickle.loads(pickle.dumps(estimator))
    for arguments in stream[201:]:
        estimator.update(*arguments)
        resumed.update(*arguments)
        assert look(resumed, name) == look(estimator, name)


@every
def test_two_instances_do_not_share_anything(name):
    used, fresh = make(name), make(name)
    before = look(fresh, name)
    for arguments in inputs(name, 150):
        used.update(*arguments)
    assert look(fresh, name) == before == look(make(name), name)


@every
def test_memory_does_not_grow_with_the_stream(name):
    estimator, sizes = make(name), []
    stream = list(inputs(name, 3000))
    for count, arguments in enumerate(stream, 1):
        estimator.update(*arguments)
        if count in (2400, 3000):
            sizes.append(len(pickle.dumps(estimator)))
    assert sizes[1] <= 1.25 * sizes[0]


@every
def test_every_parameter_has_a_documented_default_that_is_immutable(name):
    of = FOUND[name]
    needed = {"Innovations": 1, "Standardizer": 1, "RankGroups": 1, "BlockOutcomes": 1}
    parameters = list(inspect.signature(of).parameters.values())
    assert all(p.default is not p.empty for p in parameters[needed.get(name, 0) :])
    assert not any(isinstance(p.default, list | dict | set) for p in parameters)
    text = inspect.getdoc(of) or ""
    for parameter in parameters if name != "Standardizer" else []:
        assert parameter.name in text, f"{name} does not document {parameter.name}"


@pytest.mark.parametrize("name", sorted(n for n, of in FOUND.items() if issubclass(of, base.Base)))
def test_river_own_checks_pass(name):
    assert len(run_checks(make(name))) >= 3


def test_those_that_are_river_estimators_are_those_that_should_be():
    names = {name for name, of in FOUND.items() if issubclass(of, base.Base)}
    assert names == {
        "SpikeDetector",
        "LevelShift",
        "RollingCorrelation",
        "CouplingMonitor",
        "ThrottleDetector",
    }
