"""Follows a run's events with every detector and joins steps with hardware, live and in replay alike."""

from collections.abc import Callable, Mapping
from typing import Any

import river
from thermograd.store.events import SCHEMA_VERSION, Event
from thermograd.store.telling.devices import device_label
from thermograd.store.telling.episodes import ENDED_MARK
from thermograd.store.telling.silences import SILENT, pause_of, silence_alert, silence_of
from thermograd.stream.alerts.alert import Alert, empty_alert
from thermograd.stream.alerts.gaps import GapRule, Pulse
from thermograd.stream.alerts.policy import is_raised
from thermograd.stream.alerts.rules import Rule, ThrottleRule, device_rules, ended_alert, step_rules
from thermograd.stream.join.device_pairs import DevicePairs
from thermograd.stream.join.distributed_ranks import RankGroups
from thermograd.stream.join.experiments import Experiments
from thermograd.stream.join.lateness import LateEvents
from thermograd.stream.join.slow_ranks import SlowRankRule
from thermograd.stream.settings import Settings

_MADE_WITH = f" river {river.__version__}, schema {SCHEMA_VERSION}"


class Monitor:
    """Turns events into alerts and rolling correlations.

    Every rule watches one series (one writer's metric, one writer's device) and sees that series in
    the log's order. What brings writers together (joined rows, coupling, one alert for all ranks) sorts by
    event time and depends only on which events it took in; those that were too late are told by
    `late_mark`, for the log. There is no clock but the events'. So a replay gives the same alerts, bit for
    bit, however the writers' events are interleaved; only the order in which the alerts come out
    differs, and `digest` does not depend on it.

    Steps of rank 0 (or of no rank) are joined with each device's samples, and compared where they are part
    of an experiment. Marks of a writer that writes steps
    are heartbeats. A mark that tells of a silence is an alert, see `thermograd.store.telling.silences`.

    An exception in a rule, from river or our own, disables that rule for that series and is told in
    `failures`; all others go on.

    Parameters
    ----------
    devices
        Facts of the devices by name, of which ``temperature_limit_c`` is used; None where not known.
    settings
        Every detector's parameters, the join's, the correlation's, and which alerts are raised at all.
    world_size
        Ranks of the training, whose findings become one alert each; None: every writer for itself.
    left_out
        In a replay: what was too late live.

    Attributes
    ----------
    pairs
        `DevicePairs`: ``correlations()``, ``coupling()``, and in ``join`` the counts ``joined``,
        ``unmatched`` (rows of step and device) and ``late`` (events that came too late to be joined).
    experiments
        `Experiments`: ``evidence()``, of each randomised experiment so far; None once disabled.
    failures
        One sentence for every rule that was disabled.

    Examples
    --------
    >>> monitor = Monitor()
    >>> for i in range(200):
    ...     grad_norm = 8.48 if i == 120 else 0.9 + 0.01 * (i % 7)
    ...     step = {"seq": i, "time_ns": i * 10**9, "monotonic_ns": i * 10**9, "step": i}
    ...     for alert in monitor.process(Event("step", "rank0", {**step, "grad_norm": grad_norm})):
    ...         print(alert["alert"], alert["severity"], alert["message"])
    spike.grad critical step 120: grad_norm 8.48 is 9.12x the recent level 0.93 (z = 374)
    """

    def __init__(
        self,
        devices: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Settings | None = None,
        world_size: int | None = None,
        left_out: LateEvents | None = None,
    ) -> None:
        self.settings = settings = settings or Settings()
        self.failures: list[str] = []
        self._ended: list[dict[str, Any]] = []
        self._devices = {name: dict(facts) for name, facts in (devices or {}).items()}
        self._pulses: dict[str, Pulse] = {}
        self._rules: dict[tuple[str, str | None], list[Rule]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._left_out = left_out or LateEvents()
        self._ranks = RankGroups(world_size, settings.join.lateness_s, left_out=self._left_out)
        self._slow_ranks: SlowRankRule | None = SlowRankRule(
            world_size, settings.slow_rank, settings.join.lateness_s, self._left_out
        )
        self.pairs = DevicePairs(self._devices, settings, self._left_out, self._disable)
        self._joins = True
        self.experiments: Experiments | None = Experiments(self._devices)

    def late_mark(self, at_end: bool = False) -> dict[str, Any] | None:
        """Return a mark that says what was too late since the last one; None if nothing was.

        At the end it also says how far each writer was read, for what comes later was never looked at.
        """
        return self._left_out.mark(self._seen if at_end else None)

    def process(self, event: Event) -> list[Alert]:
        """Learn one event; return the alerts that go out with it."""
        kind, writer, values = event
        alerts: list[Alert] = []
        if kind == "step":
            alerts = self._ranks.update(values, writer, self._apply(writer, None, values))
            alerts = alerts + self._compare(values, writer)
            if values.get("rank") in (None, 0):
                alerts = alerts + self._join(DevicePairs.step, values, writer)
                alerts = alerts + self._follow(
                    Experiments.step, values, writer, self.pairs.refused, self.pairs.watermark_ns
                )
        elif kind == "sample" and (device := values.get("device")) is not None:
            alerts = self._apply(writer, str(device), values)
            alerts += self._join(DevicePairs.sample, values, writer)
        elif kind == "mark":
            alerts = self._take_mark(values, writer)
            if (writer, "step") in self._seen:
                alerts = alerts + self._join(DevicePairs.advance, int(values["time_ns"]))
            alerts = alerts + self._follow(Experiments.mark, values)
        self._seen[writer, kind] = int(values.get("seq") or 0)
        return self._finish(alerts) if alerts else alerts

    def close(self) -> list[Alert]:
        """Answer for all that still waits for other events, and return what alerts that gives."""
        for rule in (rule for rules in self._rules.values() for rule in rules):
            if isinstance(rule, ThrottleRule | GapRule):
                rule.close()
        alerts = self._ranks.close() + self._join(DevicePairs.close)
        return self._finish(alerts + self._follow(Experiments.close))

    def take_ended(self) -> list[dict[str, Any]]:
        """Return a mark for each alert raised whose cause has ended since the last call."""
        if not self._ended:
            return []
        ended, self._ended[:] = list(self._ended), []
        return [mark for mark in ended if is_raised(ended_alert(mark), self.settings)]

    def _finish(self, alerts: list[Alert]) -> list[Alert]:
        """Keep what is raised at all, and name the versions that a definition rests on."""
        return [
            alert
            if alert["alert"] in SILENT
            else alert | {"definition": f"{alert['definition']}{_MADE_WITH}"}
            for alert in alerts
            if is_raised(alert, self.settings)
        ]

    def _take_mark(self, values: Mapping[str, Any], writer: str) -> list[Alert]:
        """Return the alert of a mark that tells of a silence; keep the mark of its end."""
        if values.get("mark") == ENDED_MARK and values.get("text") in SILENT:
            names = ("time_ns", "monotonic_ns", "mark", "text", "detail")
            self._ended.append({name: values[name] for name in names})
        if (pause := pause_of(values)) is not None:
            self._pulse(writer).pauses.append(pause)
        if (silence := silence_of(values)) is None:
            return []
        for silent in silence.writers:
            self._pulse(silent).told_ns[""] = int(values["time_ns"])
        self._pulse(writer).take(silence, int(values["time_ns"]))
        return [empty_alert() | silence_alert(values, silence)]

    def _pulse(self, writer: str) -> Pulse:
        return self._pulses.setdefault(writer, Pulse())

    def _apply(self, writer: str, device: str | None, values: Mapping[str, Any]) -> list[Alert]:
        series = (writer, device)
        rules = self._rules.get(series)
        if rules is None:
            facts, settings = self._devices.get(device or "", {}), self.settings
            if device is None:
                rules = step_rules(settings)
            else:
                label = device_label(device, self._devices)
                rules = device_rules(device, facts, settings, label, self._ended, self._pulse(writer))
            self._rules[series] = rules
        alerts: list[Alert] = []
        for rule in rules:
            try:
                if found := rule.update(values):
                    alerts += found
            except BaseException as error:  # noqa: BLE001  # river's compiled part panics with one
                self._disable(f"{rule.name} of writer {writer} at its event {values.get('seq')}", error)
                self._rules[series] = [other for other in self._rules[series] if other is not rule]
        return alerts

    def _compare(self, values: Mapping[str, Any], writer: str) -> list[Alert]:
        """Compare the ranks' step times."""
        if self._slow_ranks is None:
            return []
        try:
            return self._slow_ranks.update(values, writer)
        except Exception as error:  # noqa: BLE001  # recording must go on
            self._disable("the comparison of ranks", error)
            self._slow_ranks = None
            return []

    def _join(self, take: Callable[..., list[Alert]], *what: Any) -> list[Alert]:
        if not self._joins:
            return []
        try:
            return take(self.pairs, *what)
        except BaseException as error:  # noqa: BLE001  # as above: recording must go on
            self._disable("the join of steps with samples", error)
            self._joins, self.experiments = False, None  # they wait for the join's watermark
            return []

    def _follow(self, take: Callable[..., list[Alert]], *what: Any) -> list[Alert]:
        if self.experiments is None:
            return []
        try:
            return take(self.experiments, *what)
        except Exception as error:  # noqa: BLE001  # recording must go on
            self._disable("following experiments", error)
            self.experiments = None
            return []

    def _disable(self, what: str, error: BaseException) -> None:
        """Tell what is disabled from now on; only Ctrl-C and exit pass through."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        self.failures.append(f"{what} was disabled: {type(error).__name__}: {error}")
