"""One process of known truth, the list of all, and how a process gets into it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from thermograd.analysis.align.grid import causal_grid
from thermograd.analysis.arrays import Floats, Times

Rng = np.random.Generator


class Pair(NamedTuple):
    """Two series on a grid of 1 s and, where the truth has them, the drivers a test must be told of.

    x stands for log(grad_norm), y for a sensor; NaN where a bin is missing.
    """

    x: Floats
    y: Floats
    drivers: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Steps and samples as they were logged, for processes in which time itself is irregular.

    Attributes
    ----------
    step_time_ns, x, step_time_s
        Shape (steps,): when each step ended, its log gradient norm, and how long it took.
    sample_time_ns, y
        Shape (samples,): when the sensor was read, and what it showed.
    """

    step_time_ns: Times
    x: Floats
    step_time_s: Floats
    sample_time_ns: Times
    y: Floats


Maker = Callable[[Rng, int], Pair]  # bins of 1 s
Recorder = Callable[[Rng, int], Recorded]  # steps
M = TypeVar("M", bound=Maker)
R = TypeVar("R", bound=Recorder)

# One value of x answers at one lag; at many, fading; or in a way that neither describes.
Response = Literal["one lag", "slow", "other"]


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """A process, and what is true of it."""

    name: str
    about: str  # one plain sentence: what it is, and why it fools correlation or is hard to see
    group: str
    make: Maker
    record: Recorder | None = None  # where steps are irregular: what `make` puts on a grid
    cycle_s: float | None = None  # length of the epoch that a training would log
    response: Response | None = None  # None where nothing is coupled
    # rho: correlation of the innovations, or of y with its response; lag_s, memory_s: of the response
    rho: float | None = None
    lag_s: int | None = None
    memory_s: float | None = None

    @property
    def is_null(self) -> bool:
        """Whether x and y have nothing to do with each other."""
        return self.response is None


ZOO: dict[str, Process] = {}


def null(name: str, about: str, group: str = "others", cycle_s: float | None = None) -> Callable[[M], M]:
    """Add the decorated maker to `ZOO`, as a process in which nothing is coupled.

    Raises
    ------
    ValueError
        If there is a process of that name.

    Examples
    --------
    >>> @null("hum", "two mains hums of one frequency: one phase beside another looks like a lag")
    ... def hum(rng, m):
    ...     phases = rng.uniform(0, 6.28, (2, 1))
    ...     return Pair(*(np.sin(np.arange(m) / 3.0 + phases) + rng.standard_normal((2, m))))
    >>> ZOO.pop("hum").is_null
    True
    """

    def added(make: M) -> M:
        _add(Process(name, about, group, make, cycle_s=cycle_s))
        return make

    return added


def recorded_null(name: str, about: str, group: str = "others") -> Callable[[R], R]:
    """Add the decorated recorder, whose steps are irregular, as a process in which nothing is coupled."""

    def added(record: R) -> R:
        _add(Process(name, about, group, lambda rng, m: to_grid(record(rng, m)), record))
        return record

    return added


def coupling(
    name: str,
    about: str,
    group: str = "others",
    *,
    response: Response,
    rho: float | None = None,
    lag_s: int | None = None,
    memory_s: float | None = None,
) -> Callable[[M], M]:
    """Add the decorated maker to `ZOO`, as a process in which y answers x; see `Process` for the truth."""

    def added(make: M) -> M:
        truth = {"rho": rho, "lag_s": lag_s, "memory_s": memory_s}
        _add(Process(name, about, group, make, response=response, **truth))  # type: ignore[arg-type]
        return make

    return added


def nulls() -> dict[str, Process]:
    """Return the processes in which nothing is coupled."""
    return {name: process for name, process in ZOO.items() if process.is_null}


def coupled() -> dict[str, Process]:
    """Return the processes in which y answers x."""
    return {name: process for name, process in ZOO.items() if not process.is_null}


def to_grid(recorded: Recorded) -> Pair:
    """Put steps and samples on the causal grid of the analysis, with the step time as a driver."""
    samples = recorded.sample_time_ns, recorded.y
    grid = causal_grid(recorded.step_time_ns, recorded.x, *samples)
    step_time = causal_grid(recorded.step_time_ns, recorded.step_time_s, *samples)
    return Pair(grid.x, grid.y, step_time.x[:, None])


def _add(process: Process) -> None:
    if process.name in ZOO:
        raise ValueError(f"there is a process {process.name!r} already: {ZOO[process.name].about}")
    ZOO[process.name] = process
