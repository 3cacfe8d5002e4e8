"""Scenarios with known truth, by name: what `simulate` can write as a run.

Some of their own, with a coupling that can be chosen, and every process of the zoo. Each draws two series on
a grid of 1 s: x stands for log(grad_norm), y for a sensor.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration import processes
from thermograd.analysis.calibration.processes import NULLS, Pair, Rng
from thermograd.analysis.calibration.zoo import ZOO, Process, Recorded, to_grid
from thermograd.analysis.calibration.zoo.process import Recorder, plain_name
from thermograd.store.errors import ScenarioError

_FEWEST_BINS = 60  # some processes need room for what they do; a shorter run shows the beginning
_FARTHEST_S = 60
_DEFAULT_RHO, _DEFAULT_LAG_S = 0.3, 5

Sensor = Literal["temperature", "throttle flag", "model"]
Maker = Callable[[Rng, int, float, int], Pair]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of run."""

    about: str  # what it holds, for a person
    make: Maker  # draws (rng, bins, rho, lag in bins)
    lag_s: int | None = None  # lag of the coupling unless another is asked for; None where nothing is coupled
    takes_rho: bool = False  # whether a coupling may be chosen
    # what y becomes: the temperature; a throttle flag; "model" has no y, the device is a modelled one
    sensor: Sensor = "temperature"
    period_s: float | None = None  # length of an epoch, where the series follow it
    process: Process | None = None  # of the zoo, whose truth is its own


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The series of one scenario, one value a second, and what is true of them."""

    pair: Pair  # x, shape (m,): log gradient norm up to scale; y, shape (m,): the sensor up to scale; drivers
    # sensor, period_s: as in `Scenario`
    sensor: Sensor
    period_s: float | None
    # for ``run.json``: ``scenario``, ``about``, ``response`` (how y answers x; None where it does not),
    # ``rho`` (correlation of the innovations, bin by bin, or of y with the response), ``lag_s`` (above 0:
    # training leads), ``memory_s``, ``seed``
    truth: dict[str, Any]
    recorded: Recorded | None = None  # the steps and samples that `pair` is the grid of, where irregular

    @property
    def load(self) -> Floats | None:
        """Shape (m,): the load that drives both series; None where none does."""
        if self.truth["scenario"] != "driver" or self.pair.drivers is None:
            return None
        return self.pair.drivers[:, 0]

    def shown(self) -> dict[str, Any]:
        """Return what a simulated run is to show, as the arguments of its signals."""
        if self.recorded is None:
            return {
                "x": self.pair.x,
                "y": self.pair.y,
                "sensor": self.sensor,
                "load": self.load,
                "period_s": self.period_s,
            }
        return {
            "x": self.recorded.x,
            "y": self.recorded.y,
            "step_ends_s": self.recorded.step_time_ns / 1e9,
            "sample_times_s": self.recorded.sample_time_ns / 1e9,
        }


def _null(make: processes.Maker) -> Maker:
    return lambda rng, m, rho, lag: make(rng, m)


_OWN: dict[str, Scenario] = {
    "uncoupled": Scenario("two independent series with a memory", _null(NULLS["ar.9"])),
    "coupled": Scenario("a true coupling, the hardware follows", processes.cont, 5, takes_rho=True),
    "trends": Scenario("a falling norm and a heating device, not coupled", _null(processes.trend)),
    "coupled-trends": Scenario(
        "a true coupling under opposite trends, the sensor in whole degrees",
        processes.cont_trend,
        5,
        takes_rho=True,
    ),
    "driver": Scenario("a varying load drives both", processes.driver, 3, takes_rho=True),
    "spikes": Scenario(
        "each spike of the norm heats the device a little",
        lambda rng, m, rho, lag: processes.spike(rng, m, 2.0, lag),
        4,
    ),
    "throttling": Scenario(
        "a hot device throttles three times a minute and slows the steps, not their arithmetic",
        _null(NULLS["ar.9"]),
        sensor="model",
    ),
}
_SENSORS: dict[str, Sensor] = {"coll": "throttle flag"}
_ALSO_KNOWN_AS = {
    "trend": "trends",
    "coupled-trend": "coupled-trends",
    "spike": "spikes",
    "common-driver": "driver",
    "random-walks": "rw",
    "collapses": "coll",
    "throttle": "throttling",
}


def _of_the_zoo(process: Process) -> Scenario:
    sensor = _SENSORS.get(process.name, "temperature")
    return Scenario(
        process.about,
        _null(process.make),
        process.lag_s,
        sensor=sensor,
        period_s=process.cycle_s,
        process=process,
    )


def scenarios() -> dict[str, Scenario]:
    """Return all by name; a process that was added to the zoo since is among them."""
    taken = _OWN.keys() | _ALSO_KNOWN_AS.keys()
    named = {plain_name(name): process for name, process in ZOO.items()}
    return _OWN | {name: _of_the_zoo(process) for name, process in named.items() if name not in taken}


def scenario_list() -> dict[str, dict[str, str]]:
    """Return what each scenario is, by group and name."""
    groups: dict[str, dict[str, str]] = {}
    for name, scenario in scenarios().items():
        group = "scenarios" if scenario.process is None else scenario.process.group
        groups.setdefault(group, {})[name] = scenario.about
    return groups


def draw(
    name: str | None = None,
    rho: float | None = None,
    lag_s: float | None = None,
    minutes: float = 20.0,
    seed: int = 0,
) -> Drawn:
    """Draw a scenario's series.

    Without a `name` (a key of `scenarios`) it is "coupled" where `rho` is not 0, else "uncoupled". `rho`,
    -1 to 1, is the correlation of the innovations: 0.3 unless told for the coupled ones, 0 for "driver".
    `lag_s` are whole seconds, -60 to 60; above 0 the training leads. The same seed gives the same series.

    Raises
    ------
    ScenarioError
        If there is no such scenario, or it does not go with `rho` or `lag_s`; or a number is out of range.

    Examples
    --------
    >>> draw(rho=0.3, minutes=10).truth["scenario"]
    'coupled'
    """
    chosen, scenario = _known(name if name is not None else "coupled" if rho else "uncoupled")
    strength, lag = _strength(chosen, scenario, rho), _lag(chosen, scenario, lag_s)
    if not 0 < minutes <= 14 * 24 * 60:
        allowed = "allowed is above 0 and up to 20160 (14 days)"
        raise ScenarioError(f"the length is {minutes:g} minutes; {allowed}")
    seconds = max(1, round(60 * minutes))
    seeds = [seed, zlib.crc32(chosen.encode())]
    truth = {"scenario": chosen, "about": scenario.about, **_truth(scenario, strength, lag), "seed": seed}
    if scenario.process is not None and scenario.process.record is not None:
        recorded = _recorded(scenario.process.record, seconds, seeds)
        return Drawn(to_grid(recorded), scenario.sensor, scenario.period_s, truth, recorded)
    pair = scenario.make(np.random.default_rng(seeds), max(seconds, _FEWEST_BINS), strength, lag)
    drivers = None if pair.drivers is None else pair.drivers[:seconds]
    cut = Pair(pair.x[:seconds], pair.y[:seconds], drivers)
    return Drawn(cut, scenario.sensor, scenario.period_s, truth)


def _recorded(record: Recorder, seconds: int, seeds: list[int]) -> Recorded:
    """Return what was recorded until then, of as many steps as it takes."""
    steps, end_ns = max(seconds, _FEWEST_BINS), seconds * 1_000_000_000
    whole = record(np.random.default_rng(seeds), steps)
    while whole.step_time_ns[-1] < end_ns:
        steps *= 2
        whole = record(np.random.default_rng(seeds), steps)
    done, read = (max(2, int((at <= end_ns).sum())) for at in (whole.step_time_ns, whole.sample_time_ns))
    return Recorded(
        whole.step_time_ns[:done],
        whole.x[:done],
        whole.step_time_s[:done],
        whole.sample_time_ns[:read],
        whole.y[:read],
    )


def _truth(scenario: Scenario, strength: float, lag: int) -> dict[str, Any]:
    if scenario.process is not None:
        process = scenario.process
        rho = 0.0 if process.is_null else process.rho
        lag_s, memory_s = _seconds(process.lag_s), _seconds(process.memory_s)
        return {"rho": rho, "lag_s": lag_s, "memory_s": memory_s, "response": process.response}
    coupled = scenario.lag_s is not None and (strength != 0 or not scenario.takes_rho)
    return {
        "rho": strength if scenario.takes_rho or scenario.lag_s is None else None,
        "lag_s": float(lag) if coupled else None,
        "memory_s": None,
        "response": "one lag" if coupled else None,
    }


def _seconds(length: float | None) -> float | None:
    return None if length is None else float(length)


def _known(name: str) -> tuple[str, Scenario]:
    plain, known = plain_name(name), scenarios()
    plain = _ALSO_KNOWN_AS.get(plain, plain)
    if plain not in known:
        raise ScenarioError(f"there is no scenario {name!r}; there are: {', '.join(known)}")
    return plain, known[plain]


def _strength(name: str, scenario: Scenario, rho: float | None) -> float:
    if rho is None:
        return _DEFAULT_RHO if scenario.takes_rho and name != "driver" else 0.0
    if not -1 <= rho <= 1:
        raise ScenarioError(f"the coupling is {rho:g}; allowed is a correlation from -1 to 1")
    if rho and not scenario.takes_rho:
        able = ", ".join(each for each, other in _OWN.items() if other.takes_rho)
        raise ScenarioError(f"scenario {name!r} takes no coupling; these do: {able}")
    return rho


def _lag(name: str, scenario: Scenario, lag_s: float | None) -> int:
    default = scenario.lag_s
    if lag_s is None:
        return default or 0
    if scenario.process is not None and not scenario.process.is_null:
        raise ScenarioError(f"scenario {name!r} has a lag of its own, so it takes no other")
    if default is None:
        raise ScenarioError(f"scenario {name!r} couples nothing, so it takes no lag")
    lowest = 0 if name == "spikes" else -_FARTHEST_S
    if not lowest <= lag_s <= _FARTHEST_S or lag_s != round(lag_s):
        raise ScenarioError(
            f"the lag is {lag_s:g} s; allowed are whole seconds from {lowest} to {_FARTHEST_S}"
        )
    return round(lag_s)
