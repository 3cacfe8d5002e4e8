"""What needs steps *and* samples, which different writers deliver: joined rows, ticks, coupling."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from thermograd.store.telling.devices import device_label
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.correlation import RollingCorrelation
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.join.coupling_alerts import CouplingEvidence, CouplingRule
from thermograd.stream.join.event_time import EventTimeJoin, Row, key_of
from thermograd.stream.join.grid_ticks import SENSORS, Tick, Ticks
from thermograd.stream.join.lateness import LateEvents
from thermograd.stream.settings import Settings

_METRIC = "grad_norm"
_HARDWARE = ("temperature_c", "power_w", "sm_clock_mhz")
_END_OF_TIME_NS = 2**63 - 1
_ROWS_AT_ONCE = 64  # rows or steps: to look at many takes little more than at few
_MOST_WAITING = 32  # seconds of a device: without steps, nothing but its own samples ends its seconds
_Pair = tuple[str, str, str]  # metric, device, hardware column
_Dated = tuple[int, Tick]


class Standing(NamedTuple):
    """What all bets on a device are worth at the end of a second, UTC epoch s, and how many were begun."""

    device: str
    second: int
    value: float
    begun: float


class DevicePairs:
    """Joins steps with each device's samples in event time and watches the pairs.

    Two views are made of the same events under the same watermark: rows of a step and its nearest sample
    (`EventTimeJoin`), which feed rolling correlations, and ticks of one second (`Ticks`), which feed each
    device's coupling monitor. Steps of rank 0 are enough: the gradient is the same on every rank.

    `devices` has the facts of the devices by name, `settings` those of join, correlation and coupling;
    `standings`, None unless somebody wants them, gathers what each device's bets are worth.
    `left_out` remembers what was too late, or knows it in a replay. `on_failure` is called with what is
    disabled and why; it raises what must pass through.

    Rows are looked for when there may be some dozens or somebody asks, not at each event: they are the same
    then.
    The devices' monitors learn a second together, as soon as it is over for all; those that are behind are
    waited for, half a minute at most. Nothing of a device begins before its first second is over, so that one
    which is new is not waited for.
    """

    def __init__(
        self,
        devices: Mapping[str, Mapping[str, Any]],
        settings: Settings,
        left_out: LateEvents,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._join = EventTimeJoin(settings.join.tolerance_s, settings.join.lateness_s, left_out=left_out)
        self._settings, self._on_failure, self._devices = settings, on_failure, devices
        self._standings: list[Standing] | None = None
        self._watched = max(1, sum(_has_sensor(facts) for facts in devices.values()))
        self._ticks = Ticks(_METRIC)
        self._rules: dict[str, CouplingRule] = {}
        self._queues: dict[str, deque[_Dated]] = {}  # of devices that work, until a second is over for all
        self._told: list[Alert] = []  # found as somebody looked
        self._shared: CouplingMonitor | None = None
        self._is_joined = True
        self._correlations: dict[str, dict[str, RollingCorrelation]] = {}  # by device and column

    @property
    def join(self) -> EventTimeJoin:
        """The join, for its counts."""
        self._catch_up()
        return self._join

    @property
    def refused(self) -> frozenset[str]:
        """Devices for which the latest event was too late, as `EventTimeJoin.refused`."""
        return self._join.refused

    @property
    def watermark_ns(self) -> int | None:
        """The event time up to which no more steps are taken in."""
        return self._join.watermark_ns()

    @property
    def standings(self) -> list[Standing] | None:
        """What each device's bets are worth, second by second; None unless somebody set a list."""
        if self._standings is not None:
            self._told += self._learn()
        return self._standings

    @standings.setter
    def standings(self, standings: list[Standing] | None) -> None:
        self._standings = standings

    def correlations(self) -> dict[_Pair, float | None]:
        """Return the rolling correlation of each (metric, device, hardware column), None where none."""
        self._catch_up()
        return {
            (_METRIC, device, column): correlation.get()
            for device, columns in sorted(self._correlations.items())
            for column, correlation in sorted(columns.items())
        }

    def coupling(self) -> dict[_Pair, CouplingEvidence]:
        """Return what is known of the coupling of each (metric, device, sensor)."""
        self._told += self._learn()
        return {
            (_METRIC, device, column): pair
            for device, rule in sorted(self._rules.items())
            for column, pair in rule.pairs().items()
        }

    @property
    def alarm_bound(self) -> float:
        """The mean e-value of a device's sensors since its last alarm at which the next is raised."""
        return self._settings.coupling.alarm_s * self._watched

    def step(self, values: Mapping[str, Any], writer: str) -> list[Alert]:
        """Take in a step of rank 0."""
        key, join = key_of(values, writer), self._join
        join.take_step(key, values)
        self._ticks.step(key, values, join.refused)
        watermark_ns = join.watermark_ns()
        if self._ticks.has_told(key, watermark_ns):  # most steps complete no second
            return []
        if join.waiting >= _ROWS_AT_ONCE:
            self._correlate(join.found())
        alerts = self._advance(self._rules)
        self._ticks.forget(watermark_ns)
        return alerts

    def sample(self, values: Mapping[str, Any], writer: str) -> list[Alert]:
        """Take in a sample."""
        device = str(values["device"])
        key = (int(values["time_ns"]), int(values.get("seq") or 0), writer)  # `key_of`, without a call
        watermark_ns = self._join.take_sample(key, values)
        if watermark_ns is None:
            return []
        if device not in self._rules:
            label = device_label(device, self._devices)
            self._rules[device] = CouplingRule(device, self._watched, self._settings.coupling, label)
            self._queues[device] = deque()
        due_ns = self._ticks.sample(key, values)
        if watermark_ns < due_ns and not self._told:  # most samples complete no second
            return []
        return self._advance((device,))

    def advance(self, time_ns: int) -> list[Alert]:
        """Take in that event time has come so far: a heartbeat."""
        self._join.take_time(time_ns)
        self._correlate(self._join.found())
        return self._advance(self._rules)

    def close(self) -> list[Alert]:
        """Answer for everything that still waits."""
        self._join.end()
        self._correlate(self._join.found())
        return self._advance(self._rules, _END_OF_TIME_NS) + self._learn()

    def _advance(self, devices: Iterable[str], until_ns: int | None = None) -> list[Alert]:
        """Take in devices' seconds up to a time, by default the watermark of each; learn what all have."""
        alerts, self._told = self._told, []
        for device in devices:
            ticks = self._ticks.release(device, until_ns or self._join.watermark_ns(device))
            if ticks and device in self._queues:
                self._queues[device] += _dated(ticks)
        while self._is_due():
            alerts += self._learn_one()
        return alerts

    def _is_due(self) -> bool:
        """Return whether all that have begun have told of the oldest second, or too much waits."""
        waiting = [len(queue) for queue in self._queues.values()]
        if not any(waiting):
            return False
        if all(waiting) or max(waiting) > _MOST_WAITING:
            return True
        oldest, told = self._oldest(), self._ticks.told
        return all(queue or told(device, oldest) for device, queue in self._queues.items())

    def _oldest(self) -> int:
        return min(queue[0][0] for queue in self._queues.values() if queue)

    def _learn(self) -> list[Alert]:
        """Learn all that waits."""
        alerts: list[Alert] = []
        while any(self._queues.values()):
            alerts += self._learn_one()
        return alerts

    def _learn_one(self) -> list[Alert]:
        """Let the monitors of all devices that know the oldest second that waits learn it."""
        alerts: list[Alert] = []
        oldest, queues = self._oldest(), self._queues
        ticks = [
            (self._rules[name], queue.popleft()[1])
            for name, queue in queues.items()
            if queue and queue[0][0] == oldest
        ]
        try:
            for rule, _ in ticks:
                self._shared = self._shared or rule.monitor
                rule.monitor.share(self._shared)
            CouplingRule.learn(ticks)
        except BaseException as error:  # noqa: BLE001 - the join goes on; told once a device
            for rule, _ in ticks:
                self._disable(rule, error)
            return []
        for rule, tick in ticks:
            try:
                alerts += rule.told(tick)
                if self._standings is not None and tick.second is not None:
                    self._note(self._standings, tick.device, tick.second)
            except BaseException as error:  # noqa: BLE001 - the join and the other devices go on; told once
                self._disable(rule, error)
        return alerts

    def _disable(self, rule: CouplingRule, error: BaseException) -> None:
        self._on_failure(rule.name, error)
        self._queues.pop(rule.device, None)

    def _note(self, standings: list[Standing], device: str, second: int) -> None:
        value, begun = self._rules[device].standing()
        if begun > 0.0:
            standings.append(Standing(device, second, value, begun))

    def _catch_up(self) -> None:
        """Learn the rows that are certain by now, for somebody who looks: whoever does is spared an error."""
        if self._is_joined:
            try:
                self._correlate(self._join.found())
            except BaseException as error:  # noqa: BLE001 - as for the monitors
                self._is_joined = False
                self._on_failure("the join of steps with samples", error)

    def _correlate(self, rows: list[Row]) -> None:
        for device, of_device in groupby(rows, itemgetter(1)):
            found = [
                (x, sample)
                for _, _, step, sample in of_device
                if sample is not None and (x := step.get(_METRIC)) is not None and x - x == 0.0
            ]
            if not found:
                continue
            correlations = self._correlations.setdefault(device, {})
            for column in _HARDWARE:
                known = [
                    (x, y) for x, sample in found if (y := sample.get(column)) is not None and y - y == 0.0
                ]
                if known:
                    if column not in correlations:
                        correlations[column] = RollingCorrelation(self._settings.correlation.window)
                    correlations[column].extend(known)


def _dated(ticks: Sequence[Tick]) -> list[_Dated]:
    """Return ticks with the second that they wait for: empty ones with that of the next."""
    dated: list[_Dated] = []
    second = 0
    for tick in reversed(ticks):
        second = second if tick.second is None else tick.second
        dated.append((second, tick))
    return dated[::-1]


def _has_sensor(facts: Mapping[str, Any]) -> bool:
    sensors = facts.get("sensors")
    return sensors is None or bool({*SENSORS, "throttled_thermal_ns"} & set(sensors))
