"""One budget of false alarms for the whole fleet: evidence of all runs, merged so that it holds for all.

Each device's node sends what its bets on a coupling are worth (`CouplingMonitor.standing`), a process S with
E[S_t] <= S_t-1 + b_t where nothing is coupled; b_t counts the bets begun. The fleet begins bets of its own
on the same factors: G_t = (G_t-1 + w_t b_t) S_t / (S_t-1 + b_t), with weights w_t that are 1/K for the K
devices whose evidence tells of that second. All G together grow, in expectation, by at most 1 a second. An
alarm is a G of at least a day over the false alarms allowed in one, and begins anew; so each takes that much
away, and in T days there are, in the mean, at most T times so many: however the runs depend on each other,
come and go, and whoever looks when.

All is done in the order of the seconds and of names, behind a watermark, with + - * / only: from the same
evidence come the same alarms, bit for bit. Evidence that comes too late moves its G, but nothing is begun
with it, which only takes away.

References
----------
Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential change detection (2022), with
weights that are spent over streams.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from thermograd.store.events import Event
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings

_DAY_S = 86_400.0
_MOST = 1e250  # far above any alarm: no overflow
_QUIET_S = 1800  # within which an alarm is of the last one's episode


class Alarm(NamedTuple):
    """A G that has reached the alarm: of which device, in which second, how much, among how many devices."""

    run: str
    device: str
    tick: int
    value: float
    threshold: float
    devices: int


class _Stake(Struct, array_like=True):
    """What is known of one device: the last evidence, G, and when it last gave an alarm."""

    tick: int
    value: float
    begun: float
    fleet: float = 0.0
    alarm: int | None = None


class FleetBudget(Struct):
    """Takes evidence in any order, releases alarms in one order.

    `per_day` are the false alarms allowed in a day over the whole fleet, `lateness_s` how much later than
    the newest evidence some may come. `late` counts evidence that came later, `alarms` the alarms so far.

    Examples
    --------
    >>> budget, found = FleetBudget(per_day=1.0, lateness_s=0), []
    >>> for second in range(40):  # whoever bets on this device doubles the stakes each second
    ...     budget.take("run", "GPU-0", second, 2.0 ** (second + 1), second + 1.0)
    ...     budget.take("other", "GPU-0", second, 1.0, second + 1.0)
    ...     found += budget.advance()
    >>> [(alarm.run, alarm.tick) for alarm in found]
    [('run', 18)]
    """

    per_day: float = 1.0
    lateness_s: int = 60
    late: int = 0
    alarms: int = 0
    stakes: dict[str, dict[str, _Stake]] = {}
    pending: dict[int, dict[str, tuple[float, float]]] = {}
    newest: int = -1
    done: int = -1
    devices: int = 0

    @property
    def threshold(self) -> float:
        """The evidence that is an alarm."""
        return _DAY_S / self.per_day

    def take(self, run: str, device: str, tick: int, value: float, begun: float) -> None:
        """Take in what a device's bets are worth at the end of a second."""
        if not (value >= 0.0 and begun >= 0.0):  # NaN is no evidence
            return
        if tick <= self.done:
            self.late += 1
            self._move(run, device, tick, min(value, _MOST), begun, 0.0)
            return
        waiting, key, given = (
            self.pending.setdefault(tick, {}),
            f"{run}\0{device}",
            (min(value, _MOST), begun),
        )
        before = waiting.get(key)
        if before is None or (begun, -given[0]) > (before[1], -before[0]):  # agents that share a log
            waiting[key] = given
        self.newest = max(self.newest, tick)

    def advance(self, complete: int | None = None) -> list[Alarm]:
        """Return the alarms up to the second whose evidence is all here, if that is known, else by age."""
        until = self.newest - self.lateness_s
        until = until if complete is None else max(until, complete)
        alarms: list[Alarm] = []
        for tick in sorted(tick for tick in self.pending if tick <= until):
            alarms += self._settle(tick, self.pending.pop(tick))
        self.done = max(self.done, until)
        return alarms

    def _settle(self, tick: int, evidence: dict[str, tuple[float, float]]) -> list[Alarm]:
        self.devices = len(evidence)
        weight = 1.0 / len(evidence)
        alarms = []
        for key, (value, begun) in sorted(evidence.items()):
            run, _, device = key.partition("\0")
            stake = self._move(run, device, tick, value, begun, weight)
            if stake is not None and stake.fleet >= self.threshold:
                if stake.alarm is None or tick - stake.alarm > _QUIET_S:
                    alarms.append(Alarm(run, device, tick, stake.fleet, self.threshold, len(evidence)))
                stake.alarm, stake.fleet = tick, 0.0
        self.alarms += len(alarms)
        return alarms

    def _move(
        self, run: str, device: str, tick: int, value: float, begun: float, weight: float
    ) -> _Stake | None:
        """Let G of a device follow its evidence; None where there is newer evidence already."""
        stakes = self.stakes.setdefault(run, {})
        stake = stakes.get(device)
        if stake is None:  # nothing can be begun in what is past
            stakes[device] = _Stake(tick, value, begun)
            return None
        if tick <= stake.tick:
            return None
        new = begun - stake.begun
        expected = stake.value + new
        if new >= 0.0 and expected > 0.0:  # else another agent's bets, which have begun anew
            stake.fleet = min((stake.fleet + weight * new) * (value / expected), _MOST)
        stake.tick, stake.value, stake.begun = tick, value, begun
        return stake

    def forget(self, run: str) -> None:
        """Let go of a run that has ended, once its evidence is settled."""
        if not any(key.startswith(f"{run}\0") for waiting in self.pending.values() for key in waiting):
            self.stakes.pop(run, None)


class Recorded(NamedTuple):
    """A run's log: its id, its events in the order of the log, and the facts of its devices."""

    run: str
    events: Iterable[Event]
    devices: Mapping[str, Mapping[str, Any]]


def replay_fleet(
    runs: Iterable[Recorded], per_day: float = 1.0, settings: Settings | None = None
) -> list[Alarm]:
    """Return the alarms of the fleet's budget: those that a consumer gave which had all evidence in time.

    `settings` are those that the runs were watched with. The order of `runs` does not matter: all runs are
    read, then their evidence is settled second by second.
    """
    budget = FleetBudget(per_day=per_day)
    for recorded in runs:
        monitor = Monitor(recorded.devices, settings)
        standings = monitor.pairs.standings = []
        for event in recorded.events:
            monitor.process(event)
        monitor.close()
        for standing in standings:
            budget.take(recorded.run, *standing)
    return budget.advance(budget.newest)
