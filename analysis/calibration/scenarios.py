"""Scenarios with known truth, by name: what `simulate` can write as a run.

Each draws the two series of `processes` on a grid of 1 s: x stands for log(grad_norm), y for a sensor.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration import processes
from thermograd.analysis.calibration.processes import NULLS, Pair, Rng
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


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The series of one scenario, one value a second, and what is true of them."""

    pair: Pair  # x, shape (m,): log gradient norm up to scale; y, shape (m,): the sensor up to scale; drivers
    # sensor, period_s: as in `Scenario`
    sensor: Sensor
    period_s: float | None
    # for ``run.json``: ``scenario``, ``about``, ``rho`` (correlation of the innovations on the 1 s grid),
    # ``lag_s`` (above 0: training leads; None where nothing is coupled), ``seed``
    truth: dict[str, Any]

    @property
    def load(self) -> Floats | None:
        """Shape (m,): the load that drives both series; None where none does."""
        if self.truth["scenario"] != "driver" or self.pair.drivers is None:
            return None
        return self.pair.drivers[:, 0]


def _null(make: processes.Maker) -> Maker:
    return lambda rng, m, rho, lag: make(rng, m)


SCENARIOS: dict[str, Scenario] = {
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
    "kink": Scenario("a learning rate drop and a fan step at independent times", _null(processes.kink)),
    "shared-kink": Scenario("one event shakes both sides once", _null(processes.coincident_kink)),
    "rw": Scenario("two independent random walks", _null(processes.rw)),
    "heavy": Scenario("rare huge spikes beside bursts of noise", _null(processes.heavy)),
    "hetero": Scenario("two independent series that both calm down", _null(processes.hetero)),
    "burst": Scenario("two independent series, restless in the same minutes", _null(processes.burst)),
    "period": Scenario(
        "one epoch length in both, each with a phase of its own", _null(processes.period), period_s=25.0
    ),
    "coll": Scenario(
        "spikes beside rare collapses, independent", _null(processes.coll), sensor="throttle flag"
    ),
    "ar.5": Scenario("two independent series with a short memory", _null(NULLS["ar.5"])),
    "ar.9": Scenario("two independent series with a memory", _null(NULLS["ar.9"])),
    "ar.98": Scenario("two independent series with a long memory", _null(NULLS["ar.98"])),
}
_ALSO_KNOWN_AS = {
    "trend": "trends",
    "coupled-trend": "coupled-trends",
    "spike": "spikes",
    "common-driver": "driver",
    "random-walks": "rw",
    "collapses": "coll",
    "throttle": "throttling",
}


def draw(
    name: str | None = None,
    rho: float | None = None,
    lag_s: float | None = None,
    minutes: float = 20.0,
    seed: int = 0,
) -> Drawn:
    """Draw a scenario's series.

    Without a `name` (a key of `SCENARIOS`) it is "coupled" where `rho` is not 0, else "uncoupled". `rho`,
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
    chosen = _known(name if name is not None else "coupled" if rho else "uncoupled")
    scenario = SCENARIOS[chosen]
    strength, lag = _strength(chosen, rho), _lag(chosen, lag_s)
    if not 0 < minutes <= 14 * 24 * 60:
        allowed = "allowed is above 0 and up to 20160 (14 days)"
        raise ScenarioError(f"the length is {minutes:g} minutes; {allowed}")
    bins = max(1, round(60 * minutes))
    rng = np.random.default_rng([seed, zlib.crc32(chosen.encode())])
    pair = scenario.make(rng, max(bins, _FEWEST_BINS), strength, lag)
    has_lag = scenario.lag_s is not None and (strength != 0 or not scenario.takes_rho)
    truth = {
        "scenario": chosen,
        "about": scenario.about,
        "rho": strength if scenario.takes_rho or scenario.lag_s is None else None,
        "lag_s": float(lag) if has_lag else None,
        "seed": seed,
    }
    cut = Pair(pair.x[:bins], pair.y[:bins], None if pair.drivers is None else pair.drivers[:bins])
    return Drawn(cut, scenario.sensor, scenario.period_s, truth)


def _known(name: str) -> str:
    plain = "-".join(name.lower().replace("_", " ").split())
    plain = _ALSO_KNOWN_AS.get(plain, plain)
    if plain not in SCENARIOS:
        raise ScenarioError(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return plain


def _strength(name: str, rho: float | None) -> float:
    if rho is None:
        return _DEFAULT_RHO if SCENARIOS[name].takes_rho and name != "driver" else 0.0
    if not -1 <= rho <= 1:
        raise ScenarioError(f"the coupling is {rho:g}; allowed is a correlation from -1 to 1")
    if rho and not SCENARIOS[name].takes_rho:
        able = ", ".join(each for each, scenario in SCENARIOS.items() if scenario.takes_rho)
        raise ScenarioError(f"scenario {name!r} takes no coupling; these do: {able}")
    return rho


def _lag(name: str, lag_s: float | None) -> int:
    default = SCENARIOS[name].lag_s
    if lag_s is None:
        return default or 0
    if default is None:
        raise ScenarioError(f"scenario {name!r} couples nothing, so it takes no lag")
    lowest = 0 if name == "spikes" else -_FARTHEST_S
    if not lowest <= lag_s <= _FARTHEST_S or lag_s != round(lag_s):
        raise ScenarioError(
            f"the lag is {lag_s:g} s; allowed are whole seconds from {lowest} to {_FARTHEST_S}"
        )
    return round(lag_s)
