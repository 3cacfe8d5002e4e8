"""What the watch view knows of a run: the latest values, a little history, what the monitor makes of it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict
from thermograd.store.events import Event
from thermograd.store.telling.devices import device_labels
from thermograd.store.telling.episodes import ENDED_MARK, Episode, ends_of, fold_alerts, told_episodes
from thermograd.store.telling.silences import silence_of
from thermograd.stream.alerts.alert import Alert, as_float
from thermograd.stream.join.coupling_alerts import NOTABLE_EXCESS
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings
from thermograd.stream.throttle import State, ThrottleDetector

_HISTORY = 600
_MOST_ALERTS = 10_000  # that episodes are made of


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside its events.

    `state` is that of a run, or ``silent`` where a writer on another host says nothing any more; `hosts` are
    those that are silent, `devices` the facts of each from ``run.json``; `reason` is why the run is in its
    state, where there is something to say.
    """

    run_id: str
    name: str
    state: str
    hosts: tuple[str, ...] = ()
    devices: Mapping[str, Mapping[str, Any]] | None = None
    reason: str | None = None


class WatchState:
    """Takes in events; never fails on a value that is not known.

    `devices` has the facts of each device, from ``run.json``; `settings` are those of the monitor behind
    correlations and evidence. `step` is the latest step of rank 0, or of no rank, None before the first;
    `first_step` the one with which reading began, None where that was the run's first; `history` has the
    values of loss and gradient norm, oldest first; `samples` the latest of each device; `silent` names those
    that give no readings, `withholding` those whose evidence of coupling is taxed, or was withheld.
    """

    def __init__(
        self, devices: Mapping[str, Mapping[str, Any]] | None = None, settings: Settings | None = None
    ) -> None:
        self._settings = settings or Settings()
        self._devices = dict(devices or {})
        self._monitor = Monitor(self._devices, self._settings)
        self._correlations: dict[tuple[str, str, str], float | None] = {}
        self._evidence: dict[str, list[float]] = {}
        self.withholding: set[str] = set()
        self._throttles: dict[str, ThrottleDetector] = {}
        self._origin_ns: int | None = None
        self._recorded, self._found = _Told(), _Told()
        self.step: Mapping[str, Any] | None = None
        self.first_step: int | None = None
        self.ranks: set[int] = set()
        self.history: dict[str, deque[float]] = {m: deque(maxlen=_HISTORY) for m in ("loss", "grad_norm")}
        self.samples: dict[str, Mapping[str, Any]] = {}
        self.silent: set[str] = set()
        self.newest_ns: int | None = None

    def learn(self, events: Iterable[Event]) -> None:
        """Take in events in the order in which they are read."""
        for event in events:
            time_ns = int(event.values["time_ns"])
            self.newest_ns = time_ns if self.newest_ns is None else max(self.newest_ns, time_ns)
            if event.kind == "alert":
                self._recorded.add([event.values])
                continue
            if event.values.get("mark") == ENDED_MARK:
                self._recorded.end([event.values])
            if event.kind == "mark" and (silence := silence_of(event.values)) is not None:
                self.silent |= set(silence.devices)
            if event.kind == "step":
                self._learn_step(event.values)
            elif event.kind == "sample" and event.values.get("device") is not None:
                self._learn_sample(str(event.values["device"]), event.values)
            self._found.add(self._monitor.process(event))
            self._found.end(self._monitor.take_ended())
        self._correlations = self._monitor.pairs.correlations()
        self._evidence, self.withholding = {}, set()
        for (_, device, _), pair in self._monitor.pairs.coupling().items():
            self._evidence.setdefault(device, []).append(pair.run_e_value)
            if pair.excess > NOTABLE_EXCESS or pair.withheld:
                self.withholding.add(device)

    def _learn_step(self, values: Mapping[str, Any]) -> None:
        rank = values.get("rank")
        if rank is not None:
            self.ranks.add(int(rank))
        if rank in (None, 0):
            if self.step is None and int(values.get("seq") or 0) > 0:
                self.first_step = values.get("step")
            self.step = values
            for metric, history in self.history.items():
                x = as_float(values.get(metric))
                if x is not None:
                    history.append(x)

    def _learn_sample(self, device: str, values: Mapping[str, Any]) -> None:
        self.samples[device] = values
        self.silent.discard(device)
        if device not in self._throttles:
            limit_c = as_float(self._devices.get(device, {}).get("temperature_limit_c"))
            self._throttles[device] = ThrottleDetector(limit_c, **asdict(self._settings.throttle))
        if self._origin_ns is None:
            self._origin_ns = int(values["time_ns"])
        self._throttles[device].update((int(values["time_ns"]) - self._origin_ns) / 1e9, values)

    def describe(self, devices: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in facts of devices that were not known before: the agent writes them after its start."""
        for device, facts in devices.items():
            if device not in self._devices:
                self._devices[device] = facts
                self._throttles.pop(device, None)  # made without the device's limit

    def throttle_state(self, device: str) -> State:
        """Return what slows a device now, ``unknown`` where nothing can be said."""
        return self._throttles[device].state if device in self._throttles else "unknown"

    def device_state(self, device: str) -> str:
        """Return ``silent`` of a device that gives no readings, else what slows it now."""
        return "silent" if device in self.silent else self.throttle_state(device)

    def labels(self) -> dict[str, str]:
        """Return what each device that gave a sample is called, in the order for people."""
        labels = device_labels(
            {name: self._devices.get(name, {}) for name in {**self._devices, **self.samples}}
        )
        return {name: label for name, label in labels.items() if name in self.samples}

    def correlation(self, device: str, column: str) -> float | None:
        """Return the rolling correlation of the gradient norm with a device's column."""
        return self._correlations.get(("grad_norm", device, column))

    def evidence(self, device: str) -> float | None:
        """Return the mean e-value of the pairs of gradient norm and the device's sensors, None without any.

        Of all that was read: 1 is no evidence, and 20 is reached by one uncoupled run in twenty at most.
        """
        values = self._evidence.get(device)
        return sum(values) / len(values) if values else None

    def experiments(self) -> list[tuple[str, float, int]]:
        """Return arm, e-value so far and pairs of each experiment that was seen from its first step on."""
        followed = self._monitor.experiments
        return [
            (schedule.arm, e_value, pairs)
            for schedule, e_value, pairs in (followed.standing() if followed is not None else [])
            if self.first_step is None or self.first_step <= schedule.start_step
        ]

    def episodes(self) -> tuple[list[Episode], bool]:
        """Return the alerts, what repeats as one, the latest first; and whether they are those of the log."""
        recorded = bool(self._recorded.alerts)
        return (self._recorded if recorded else self._found).episodes(), recorded


class _Told:
    """Alerts, the ends of what they tell of, and the episodes of both, made anew where one was added."""

    def __init__(self) -> None:
        self.alerts: deque[Alert] = deque(maxlen=_MOST_ALERTS)
        self._ends: dict[tuple[str, str | None, int], int] = {}
        self._episodes: list[Episode] | None = None

    def add(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self.alerts.append(alert)
            self._episodes = None

    def end(self, marks: Iterable[Mapping[str, Any]]) -> None:
        for key, end_ns in ends_of(marks).items():
            self._ends[key] = end_ns
            self._episodes = None

    def episodes(self) -> list[Episode]:
        if self._episodes is None:
            told, _ = told_episodes(fold_alerts(self.alerts, self._ends))
            self._episodes = sorted(told, key=lambda episode: -episode.last_ns)
        return self._episodes
