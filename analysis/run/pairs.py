"""One training signal against one hardware signal of a run: grid, drivers, tests in every direction."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.coupling.by_family import couplings_by_family, shown_both_ways
from thermograd.analysis.coupling.cross_correlation import FAMILIES, Coupling, Family
from thermograd.analysis.coupling.detectable import smallest_detectable
from thermograd.analysis.coupling.hindrance import Hindrance
from thermograd.analysis.coupling.responses import MEMORIES as MEMORIES_S  # at bins of 1 s
from thermograd.analysis.coupling.stability import coupling_over_time
from thermograd.analysis.coupling.verdict import gates, holm, strength, verdict
from thermograd.analysis.remembered import Remembered
from thermograd.analysis.run.common_drivers import DriverNames, Drivers, driver_columns
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.readings.compared import ComparedSignals, Shared
from thermograd.analysis.run.readings.time_constants import TimeConstant
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.analysis.side_by_side import side_by_side, threads_here
from thermograd.store.clocks.hosts import HostClock
from thermograd.store.clocks.telling import clock_text

_HEATED_BY_POWER = ("temperature_c", "memory_temperature_c")
_ALPHA = 0.05
_MANY_ORDERS = 10_000  # beyond these only as many as the number of tests demands
_MOST_KEPT_BYTES = 30_000_000  # of the drivers of pairs that may be looked at again; more are made again
_FEWEST_BESIDE, _MOST_BESIDE = 5_000, 100_000  # bins of runs of which two pairs are tested at a time
_MOST_BINS = 2_000_000  # 23 days of seconds: one wrong clock must not fill the memory


@dataclass(frozen=True, eq=False)
class PairTest(ComparedSignals):
    """A pair of signals, tested in the three families of lags but not yet corrected for all tests."""

    drivers: DriverNames  # what was taken out of both
    results: dict[Family, Coupling]  # by family; p also without the drivers that both sides may move
    # by family, with power as a driver too; None where power is no way from x to y
    direct: dict[Family, Coupling] | None
    turned: set[Family]  # in which nothing is found where the drivers that both sides may move are left in
    pearson_r: float  # naive correlation of raw matched values
    blocked: list[Hindrance]  # reasons why the pair cannot be tested
    tests: int  # how many the run makes

    def p_values(self) -> list[float]:
        """Return p of every family, NaN where the pair cannot be tested."""
        return [math.nan if self.blocked else self.results[family].p for family in FAMILIES]

    def judged(self, p_adjusted: list[float]) -> list[Pair]:
        """Return the pair in every family with its verdict, given p after correction."""
        return [self._judged(family, p) for family, p in zip(FAMILIES, p_adjusted, strict=True)]

    def _judged(self, family: Family, p_adjusted: float) -> Pair:
        result, period_s = self.results[family], self.grid.period_s
        smallest = 1 / (1 + permutations_for(self.tests))
        said, reasons = verdict(
            result,
            p_adjusted,
            gate_reasons=self.blocked,
            period_s=period_s,
            tests=self.tests,
            p_smallest=smallest,
        )
        if family in self.turned and said != "insufficient":
            reasons.append(_only_held(self.drivers, result.p))
        clock = self.device.clock
        columns, detectable_r, over_time = max(result.n - result.df - 2, 0), math.nan, None
        if not result.reason:
            detectable_r = smallest_detectable(
                result.n, columns=columns, lags=result.alternatives, inflation=result.inflation
            )
            first, second = map(self.grid.laid_out, (self.residual_x, self.residual_y))
            change = coupling_over_time(first, second, result.lag, period_s)
            over_time = asdict(change)
        pair = Pair(
            x=self.x,
            y=self.y,
            device=self.device.name,
            device_label=self.device.label,
            family=family,
            n=result.n,
            r=result.r,
            lag_s=_lag_s(result, period_s),
            memory_s=None if result.memory is None else result.memory * period_s,
            p=math.nan if self.blocked else result.p,
            p_adjusted=p_adjusted,
            p_smallest=smallest,
            half_width=result.half_width,
            slow_half_width=result.slow_half_width,
            lag_bound=result.lag_bound,
            slow_bound=result.slow_bound if result.memories.size else math.nan,
            not_excluded=[asdict(e) for e in result.not_excluded if e.p * self.tests <= _ALPHA],
            cycles_s=[length * period_s for length in result.cycles],
            pearson_r=self.pearson_r,
            verdict=said,
            strength=strength(result.r, said == "coupled"),
            reasons=reasons,
            period_s=period_s,
            lags_s=[float(lag) * period_s for lag in result.lags],
            profile=result.profile.tolist(),
            memories_s=[float(memory) * period_s for memory in result.memories],
            slow_profile=result.slow_profile.tolist(),
            drivers=self.drivers.names,
            columns=columns if result.df else 0,
            detectable_r=detectable_r,
            direct=None if self.direct is None else _brief(self.direct[family], period_s),
            over_time=over_time,
            clock_unsure_s=0.0 if clock is None else clock.unsure_s,
        )
        if clock is not None and said == "coupled":
            pair.reasons.append(_across_clocks(pair, clock))
        return pair


def _across_clocks(pair: Pair, clock: HostClock) -> str:
    """Say how far a lag between two hosts can be trusted."""
    if clock.unsure_s is None:
        return (
            f"The clock of {clock.host} could not be compared with the steps' ({clock.reason}): "
            "how long the lag is, and who leads, cannot be told."
        )
    said = f"{clock_text(clock)}: the lag is that sure besides its bin"
    return f"{said}." if pair.is_direction_sure else f"{said}, too little to say who leads."


def permutations_for(tests: int) -> int:
    """Return how many random orders are drawn so that the smallest p survives so many tests.

    Of few tests four times as many: with p in steps of 0.4 of what is significant, one unlucky order hides an
    effect that is just large enough.
    """
    return max(1000, 50 * tests, min(200 * tests, _MANY_ORDERS)) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A training signal and a hardware signal of a device that are to be compared."""

    x: str
    y: str
    device: Device
    pearson_r: float  # of raw matched values
    constants: Sequence[TimeConstant]  # of the device: a temperature is also looked for with these


def correlate_pairs(
    data: RunSeries,
    asked: Iterable[Asked],
    pairs: int,
    max_lag_s: float,
    remembered: Remembered,
    shared: Shared,
) -> list[PairTest]:
    """Test every pair in three families of lags, at lags up to `max_lag_s`; so many `pairs` are asked.

    First comes a glance, by p-values that the full tests never go below. Where Holm's correction of these
    leaves 1, that of the full tests leaves 1 as well, whatever they would find: raising any p lowers no
    adjusted one. Only the others are resampled.
    """
    kept, room = dict[int, _Lags](), _MOST_KEPT_BYTES
    glanced, every, looking = list[PairTest](), list[Asked](), deque[_Lags]()
    threads = _threads_for(data)

    def glances() -> Iterator[Callable[[], PairTest]]:
        for each in asked:
            every.append(each)
            looking.append(_Lags.of(data, each, max_lag_s, remembered, shared))
            yield partial(looking[-1].glance, len(FAMILIES) * pairs)

    for place, found in enumerate(side_by_side(glances(), threads)):
        glanced.append(found)
        every[place].device.tidy()
        lags, least_p = looking.popleft(), np.nanmin([*found.p_values(), 1.0])
        if least_p * pairs < 1 and room > 0:  # of others few are looked at again
            room -= lags.drivers.lagged.nbytes + lags.drivers.unlagged.nbytes
            kept[place] = lags
        del lags  # before the next are gathered
    least = holm([p for test in glanced for p in test.p_values()]).reshape(-1, len(FAMILIES)) < 1.0
    again = np.flatnonzero(least.any(axis=1)).tolist()

    def tests() -> Iterator[Callable[[], PairTest]]:
        for place in again:
            families = [family for family, is_open in zip(FAMILIES, least[place], strict=True) if is_open]
            lags = kept.pop(place, None) or _Lags.of(data, every[place], max_lag_s, remembered, shared)
            yield partial(lags.test, glanced[place], families)

    for place, found in zip(again, side_by_side(tests(), threads), strict=True):
        glanced[place] = found
    shared.let_go()
    return glanced


def _threads_for(data: RunSeries) -> int:
    """Return how many pairs are tested at a time: of a long run one, which fills the memory alone."""
    bins = min(data.training_s, data.step_time_ns.size)
    return threads_here() if _FEWEST_BESIDE <= bins <= _MOST_BESIDE else 1


@dataclass(frozen=True, slots=True, eq=False)
class _Lags:
    """One pair of signals on its grid, to be tested as often as is needed."""

    data: RunSeries
    asked: Asked
    grid: CausalGrid
    blocked: list[Hindrance]
    drivers: Drivers
    max_lag: int
    memories: Floats
    remembered: Remembered
    shared: Shared

    @classmethod
    def of(
        cls, data: RunSeries, asked: Asked, max_lag_s: float, remembered: Remembered, shared: Shared
    ) -> "_Lags":
        """Put a pair on its grid and gather its drivers."""
        x, y, device = asked.x, asked.y, asked.device
        values = shared.signal(device, y)
        grid = shared.of(data.grid(x, device, values, call=remembered))
        own_s = [constant.tau_s for constant in asked.constants] if y in _HEATED_BY_POWER else []
        return cls(
            data,
            asked,
            grid,
            placeholders(device, y)
            or gates(
                grid.x, grid.y, loads=shared.loads(data, device), apart=data.is_apart(x, device, values)
            ),
            driver_columns(data, device, grid, x, y, call=remembered),
            max(1, round(max_lag_s / grid.period_s)) if grid.x.size else 1,
            np.unique([*MEMORIES_S, *own_s]) / grid.period_s,
            remembered,
            shared,
        )

    def glance(self, tests: int) -> PairTest:
        """Return the test of the pair without any resampling; the run makes so many tests."""
        results, asked = self._tested(self.drivers, tests), self.asked
        same = results["forward"]  # in every family
        rest_x, rest_y = self.shared.rest(same.residual_x), self.shared.rest(same.residual_y)
        signals = asked.x, asked.y, asked.device, self.grid, rest_x, rest_y
        direct, drivers = self._direct(tests), self.drivers.named()
        direct = None if direct is None else _without_residuals(direct)
        told = drivers, _without_residuals(results), direct
        return PairTest(*signals, *told, set(), asked.pearson_r, self.blocked, tests)

    def test(self, glanced: PairTest, families: Collection[Family]) -> PairTest:
        """Return the test of the pair in full in some families, in the others as it was glanced at."""
        held = self._tested(self.drivers, glanced.tests, families, glanced.results)
        results = held
        if self.drivers.moved.any():
            in_question = {family: held[family] for family in families}
            free = lambda: self._tested(  # noqa: E731
                self.drivers.unmoved(), glanced.tests, families, only_resampled=True
            )
            results = held | shown_both_ways(in_question, free)
        turned = {family for family in families if held[family].p <= _ALPHA < results[family].p}
        direct = self._direct(glanced.tests, families, glanced.direct)
        return replace(glanced, results=results, direct=direct, turned=turned)

    def _direct(
        self, tests: int, families: Collection[Family] = (), known: dict[Family, Coupling] | None = None
    ) -> dict[Family, Coupling] | None:
        """Return what is found with power as a driver too; None where power is no way from x to y."""
        x, y = self.asked.x, self.asked.y
        if y not in _HEATED_BY_POWER or x == "step_time_s" or self.blocked:
            return None
        given = self.data, self.asked.device, self.grid, x, y
        with_power = driver_columns(*given, with_power=True, call=self.remembered)
        return self._tested(with_power, tests, families, known) if "power_w" in with_power.names else None

    def _tested(
        self,
        by: Drivers,
        tests: int,
        families: Collection[Family] = (),
        known: dict[Family, Coupling] | None = None,
        only_resampled: bool = False,
    ) -> dict[Family, Coupling]:
        return couplings_by_family(
            self.grid.x,
            self.grid.y,
            by.lagged,
            self.max_lag,
            permutations_for(tests),
            segments=self.grid.segment,
            bins=self.grid.bin,
            unlagged=by.unlagged,
            memories=self.memories,
            resampled=families,
            known=known,
            only_resampled=only_resampled,
            remembered=self.remembered,
        )


def _without_residuals(results: dict[Family, Coupling]) -> dict[Family, Coupling]:
    """Return the same without the residuals, which the pair holds."""
    none = np.empty(0)
    return {family: replace(found, residual_x=none, residual_y=none) for family, found in results.items()}


def _lag_s(result: Coupling, period_s: float) -> float:
    return result.lag * period_s if math.isfinite(result.r) else math.nan


def _brief(result: Coupling, period_s: float) -> dict[str, Any]:
    half_width = result.half_width if result.memory is None else result.slow_half_width
    memory_s = None if result.memory is None else result.memory * period_s
    brief = {"r": result.r, "lag_s": _lag_s(result, period_s), "memory_s": memory_s, "p": result.p}
    return brief | {"half_width": half_width}


def _only_held(drivers: DriverNames, p: float) -> str:
    """Say that a coupling is not found where what both sides may move is left in."""
    moved = " and ".join(drivers.moved)
    return f"With {moved} left in, which training and hardware may both move, p is {p:.2g}."


def placeholders(device: Device, hardware: str) -> list[Hindrance]:
    """Return a sentence where a sensor that a signal rests on is a constant that stands for a missing one."""
    inputs = ("power_w", "temperature_c") if hardware in ("rle", "reported_rle") else (hardware,)
    suspect = [name for name in inputs if name in device.facts.get("suspect", {})]
    if not suspect:
        return []
    why = f"{hardware} of {device.label} rests on {' and '.join(suspect)}, constants for missing sensors."
    if suspect == [hardware]:
        why = f"{hardware} of {device.label} is a constant that stands for a missing sensor."
    return [Hindrance(why, "placeholder")]


@dataclass(frozen=True, slots=True, eq=False)
class RegularPair:
    """Two signals on one clock without holes in its numbering."""

    # x, y: shape (m,): training signal (the norm as its logarithm) and hardware signal; NaN in a bin without
    # a value. Bin k is the same time since the training's beginning in every run
    x: Floats
    y: Floats
    # drivers, unlagged: shape (m, k): what moves both without being on the way between them, see
    # `drivers.Drivers`
    drivers: Floats
    unlagged: Floats
    moved: Mask  # shape (k,): which of the drivers both sides may move
    period_s: float  # length of a bin
    n: int  # bins that hold both signals


def regular_pair(
    data: RunSeries, device: Device, x: str, y: str, min_period_s: float = 1.0
) -> RegularPair | None:
    """Put two signals of a run on regular bins of the slower clock, of at least `min_period_s`.

    None where the run does not have both signals, or never at the same time.
    """
    values = device.signal(y)
    if values is None or not data.has_training(x):
        return None
    grid = data.grid(x, device, values, min_period_s)
    place = places(grid, int(data.training_series(x)[0][0])) if grid.x.size else None
    if place is None:
        return None
    drivers = driver_columns(data, device, grid, x, y)

    def laid_out(values: Floats) -> Floats:
        whole = np.full((int(place[-1]) + 1, *values.shape[1:]), np.nan)
        whole[place] = values
        return whole

    lagged, unlagged = laid_out(drivers.lagged), laid_out(drivers.unlagged)
    series = laid_out(grid.x), laid_out(grid.y)
    return RegularPair(*series, lagged, unlagged, drivers.moved, grid.period_s, place.size)


def places(grid: CausalGrid, begin_ns: int) -> Ints | None:
    """Return each bin's number since the training began; a hole between segments counts by its length."""
    period_ns = grid.period_s * 1e9
    if (grid.time_ns[-1] - begin_ns) / period_ns > _MOST_BINS:
        return None
    return grid.bin + max(0, round((int(grid.time_ns[0]) - begin_ns) / period_ns))
