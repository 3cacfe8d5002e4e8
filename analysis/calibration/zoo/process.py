"""One process of known truth, the list of all, and how a process gets into it."""

import runpy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from thermograd.analysis.align.grid import causal_grid
from thermograd.analysis.arrays import Floats, Times
from thermograd.store.errors import ScenarioError

Rng = np.random.Generator


class Pair(NamedTuple):
    """Two series on a grid of 1 s and, where the truth has them, the drivers a test must be told of.

    x stands for log(grad_norm), y for a sensor; NaN where a bin is missing. `moved` are drivers that x and y
    may themselves move, such as the step time: a test is made with and without them.
    """

    x: Floats
    y: Floats
    drivers: Floats | None = None
    moved: Floats | None = None

    def all_drivers(self) -> Floats | None:
        """Return the drivers, moved ones included, shape (m, k); None where there are none."""
        known = [each for each in (self.drivers, self.moved) if each is not None]
        return np.hstack(known) if known else None


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

# y answers one value of x at one lag; at many, fading; in a way that neither describes. "once": one event
# shook both, which is neither independence nor a coupling.
Response = Literal["one lag", "slow", "other", "once"]


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


def recorded_coupling(
    name: str,
    about: str,
    group: str = "others",
    *,
    response: Response,
    rho: float | None = None,
    lag_s: int | None = None,
    memory_s: float | None = None,
) -> Callable[[R], R]:
    """Add the decorated recorder, whose steps are irregular, as a process in which y answers x."""

    def added(record: R) -> R:
        on_grid = coupling(name, about, group, response=response, rho=rho, lag_s=lag_s, memory_s=memory_s)
        on_grid(lambda rng, m: to_grid(record(rng, m)))
        ZOO[name] = replace(ZOO[name], record=record)
        return record

    return added


def nulls() -> dict[str, Process]:
    """Return the processes in which nothing is coupled."""
    return {name: process for name, process in ZOO.items() if process.is_null}


def coupled() -> dict[str, Process]:
    """Return the processes in which y answers x."""
    return {name: process for name, process in ZOO.items() if process.response not in (None, "once")}


def plain_name(name: str) -> str:
    """Return a name as it is typed: small letters, words joined by hyphens."""
    return "-".join(name.lower().replace("_", " ").split())


def process_named(name: str) -> Process:
    """Return the process of a name, also as it is typed.

    Raises
    ------
    ScenarioError
        If there is none.
    """
    known = {plain_name(each): process for each, process in ZOO.items()}
    if plain_name(name) not in known:
        raise ScenarioError(f"there is no process {name!r}; there are: {', '.join(known)}")
    return known[plain_name(name)]


def add_from(path: Path) -> list[str]:
    """Run a Python file that adds processes, and return their names.

    Raises
    ------
    ScenarioError
        If it cannot be run, or adds none.
    """
    before = set(ZOO)
    try:
        runpy.run_path(str(path))
        added = [name for name in ZOO if name not in before]
        for name in added:
            _try(ZOO[name])
    except (Exception, SystemExit) as error:
        raise ScenarioError(f"{path} adds no process: {type(error).__name__}: {error}") from error
    if not added:
        raise ScenarioError(f"{path} adds no process: it decorates none with null, recorded_null or coupling")
    return added


def _try(process: Process, m: int = 75) -> None:
    pair = process.make(np.random.default_rng(0), m)
    shapes = np.shape(pair.x), np.shape(pair.y)
    whole = len(shapes[0]) == 1 and (process.record is not None or shapes[0] == (m,))
    if shapes[0] != shapes[1] or not whole:
        raise ValueError(f"{process.name!r} made x and y of shapes {shapes} for {m} bins")
    if not (np.isfinite(pair.x).any() and np.isfinite(pair.y).any()):
        raise ValueError(f"{process.name!r} made nothing but missing values")


def to_grid(recorded: Recorded) -> Pair:
    """Put steps and samples on the causal grid of the analysis, with the step time, which both may move."""
    samples = recorded.sample_time_ns, recorded.y
    grid, step_time = (
        causal_grid(recorded.step_time_ns, values, *samples) for values in (recorded.x, recorded.step_time_s)
    )
    moved = step_time.laid_out(step_time.x)[:, None]
    return Pair(grid.laid_out(grid.x), grid.laid_out(grid.y), moved=moved)


def _add(process: Process) -> None:
    if process.name in ZOO:
        raise ValueError(f"there is a process {process.name!r} already: {ZOO[process.name].about}")
    ZOO[process.name] = process
