"""The stream layer at work: follow a log, raise alerts into it, tell whoever is to be told."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace
from thermograd.store.errors import ConfigError
from thermograd.store.events import SETTINGS_MARK, Event
from thermograd.store.processes import rank_of_writer
from thermograd.store.telling.episodes import ENDED_MARK, Ends, ends_of
from thermograd.store.telling.silences import SILENT
from thermograd.stream.alerts.alert import identity
from thermograd.stream.join.device_pairs import Standing
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.pipeline.standing import Leave, StandingKept
from thermograd.stream.settings import MetricsSettings, OtlpSettings, Settings
from thermograd.stream.sinks.notifier import Notifier
from thermograd.stream.sinks.pictures import Pictures, drawn_for

if TYPE_CHECKING:
    from thermograd.stream.sinks.otlp import OtlpSink
    from thermograd.stream.sinks.prometheus import Exporter


_POLL_S = 0.5  # half a second is early enough for an alert; every look costs the trainer's machine


class Listener(Protocol):
    """Hears what a stream layer sees and says, for others; none of it may wait or raise."""

    def take(self, events: list[Event], standings: list[Standing]) -> None:
        """Take in the events of a look, and what bets on couplings were worth, second by second."""

    def alert(self, seq: int, values: Mapping[str, Any]) -> None:
        """Take in an alert that was just written."""


def watch_log(
    poll: Callable[[], list[Event]],
    append: Callable[..., Any],
    devices: Mapping[str, Mapping[str, Any]],
    stop: threading.Event,
    on_line: Callable[[str], None],
    settings: Settings | None = None,
    run: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
    leave: Leave | None = None,
    run_dir: Callable[[], Path] | None = None,
) -> None:
    """Feed events to a `Monitor` until `stop` is set, writing its alerts to the log.

    The definitions in force are written first, as a mark, so that a replay can use the same.

    Parameters
    ----------
    poll, append
        Return the events that appeared since the last call; write an event, `append(kind, **columns)`, from
        several threads.
    devices
        Facts of each device, from ``run.json``.
    stop
        Set when the run ends; what is in the log by then is still looked at.
    on_line
        Called with each alert as a line of text.
    settings
        Detectors, policy, sinks, exporter; the defaults if not given.
    run
        Facts of the run: ``run_id`` and ``name`` for sinks and exporter, ``job`` for its ``world_size``:
        what several ranks find is one alert.
    listener
        Hears of every look and every alert.
    leave
        Called now and then with where the coupling monitor stands, for who looks at the run.
    run_dir
        Where the run is, for the process that draws a critical alert; None: there are no pictures.
    """
    layer = _LiveLayer(append, devices, on_line, settings or Settings(), run, listener, leave, run_dir)
    layer.follow(_looks(poll, stop))


def watch_written(
    events: Iterable[Event],
    append: Callable[..., Any],
    run: Mapping[str, Any],
    settings: Settings | None = None,
) -> None:
    """Run the stream layer over a finished event sequence, without sinks or exporter.

    Parameters
    ----------
    events
        In order of time; one is taken when the alerts of those before it have been written.
    append
        Writes an event: `append(kind, **columns)`.
    run
        Facts of the run: ``devices``, and ``job`` as for `watch_log`.
    settings
        The defaults if not given; its sinks and its exporter are left alone.
    """
    silent = replace(settings or Settings(), sinks={}, metrics=MetricsSettings(), otlp=OtlpSettings())
    layer = _LiveLayer(append, run.get("devices", {}), lambda line: None, silent, run)
    layer.follow([event] for event in events)


def _looks(poll: Callable[[], list[Event]], stop: threading.Event) -> Iterator[list[Event]]:
    ending = False
    while not ending:
        ending = stop.wait(_POLL_S)  # one more look after the end
        yield poll()


class _LiveLayer:
    """The monitor of a run, and who is told. Each alert is written and told once.

    Also where a stream layer before this one had raised it: an agent that is started again reads the run
    from its beginning and finds the same alerts.
    """

    def __init__(
        self,
        append: Callable[..., Any],
        devices: Mapping[str, Mapping[str, Any]],
        on_line: Callable[[str], None],
        settings: Settings,
        run: Mapping[str, Any] | None,
        listener: Listener | None = None,
        leave: Leave | None = None,
        run_dir: Callable[[], Path] | None = None,
    ) -> None:
        definitions = json.dumps(settings.definitions(), sort_keys=True)
        append("mark", mark="note", text=SETTINGS_MARK, detail=definitions)
        self._append, self._on_line, self._listener = append, on_line, listener
        self._standing = None if leave is None else StandingKept(leave)
        self._newest_ns = 0
        self._known: set[str] = set()
        self._ended: set[str] = set()  # details of marks in the log
        self._monitor = Monitor(devices, settings, (run or {}).get("job", {}).get("world_size"))
        if listener is not None:
            self._monitor.pairs.standings = []
        pictures = None if run_dir is None else Pictures(lambda: drawn_for(str(run_dir())), self._trouble)
        self._notifier = Notifier(settings, on_line, self._trouble, run, pictures)
        self._exporter = self._start_exporter(settings.metrics, devices, run)
        self._otlp = self._start_otlp(settings.otlp, devices, run)

    def _trouble(self, text: str) -> None:
        self._append("mark", mark="error", text=text)
        self._on_line(f"thermograd: {text}")

    def _start_exporter(
        self,
        section: MetricsSettings,
        devices: Mapping[str, Mapping[str, Any]],
        run: Mapping[str, Any] | None,
    ) -> "Exporter | None":
        if not section.port:
            return None
        from thermograd.stream.sinks.prometheus import Exporter  # a megabyte that only an exporter needs

        exporter, at = Exporter(devices, run), f"{section.host}:{section.port}"
        try:
            exporter.listen(section.port, section.host)
        except OSError as error:
            self._trouble(f"no metrics on {at} ({error.strerror or error}); all else goes on")
            return None
        return exporter

    def _start_otlp(
        self,
        section: OtlpSettings,
        devices: Mapping[str, Mapping[str, Any]],
        run: Mapping[str, Any] | None,
    ) -> "OtlpSink | None":
        if not section.endpoint:
            return None
        from thermograd.stream.sinks.otlp import OtlpSink

        try:
            return OtlpSink(section, run, devices, self._trouble)
        except ConfigError as error:
            self._trouble(f"nothing is sent by OTLP: {error}")
            return None

    def follow(self, looks: Iterable[list[Event]]) -> None:
        try:
            for events in looks:
                self._look(events)
            self._record(self._monitor.close())
            if self._standing is not None:
                self._standing.keep(self._monitor.pairs, self._newest_ns, at_end=True)
            self._record_ended()
            self._mark_late(at_end=True)
        finally:
            if self._exporter is not None:
                self._exporter.close()
            if self._otlp is not None:
                self._otlp.close()
            self._notifier.close()
        self._give_account()

    def _look(self, events: list[Event]) -> None:
        heard: list[Mapping[str, Any]] = []
        for event in events:  # before the others: what the log holds is not told again
            if (
                event.kind == "alert"
                and self._is_new(event.values)
                and rank_of_writer(event.writer) is not None
            ):
                heard.append(event.values)
            elif event.values.get("mark") == ENDED_MARK:
                self._ended.add(str(event.values.get("detail")))
                if event.values.get("text") in SILENT:  # by who looked, not by this layer
                    self._notifier.tell_ended(event.values)
        if heard:
            self._hear(heard, ends_of(event.values for event in events))
        for event in events:
            if event.kind != "alert":
                self._record(self._monitor.process(event))
                self._record_ended()
        self._mark_late()
        if events:
            newest_ns = max(int(event.values["time_ns"]) for event in events)
            self._newest_ns = max(self._newest_ns, newest_ns)
            self._notifier.advance(newest_ns)
        if self._standing is not None:
            self._standing.keep(self._monitor.pairs, self._newest_ns)
        if self._exporter is not None:
            failures = len(self._monitor.failures)
            self._exporter.publish(events, self._monitor.pairs, self._notifier.counts(), failures)
        if self._otlp is not None:
            self._otlp.take(events)
        if self._listener is not None:
            standings, self._monitor.pairs.standings = self._monitor.pairs.standings, []
            self._listener.take(events, standings or [])

    def _hear(self, alerts: list[Mapping[str, Any]], ends: Ends) -> None:
        """Tell what a training wrote of its agent, which could tell nobody; not where it is over already."""
        for alert in alerts:
            if (alert["alert"], alert["device"], alert["onset_time_ns"]) not in ends:
                self._notifier.tell(dict(alert))

    def _record(self, alerts: Iterable[dict[str, Any]]) -> None:
        for alert in alerts:
            if self._is_new(alert):
                seq = self._append("alert", **alert)
                self._notifier.tell(alert)
                if self._otlp is not None:
                    self._otlp.alert(alert)
                if self._listener is not None and seq is not None:
                    self._listener.alert(seq, alert)

    def _record_ended(self) -> None:
        for mark in self._monitor.take_ended():
            if mark["detail"] not in self._ended:
                self._ended.add(mark["detail"])
                self._append("mark", **mark)
                self._notifier.tell_ended(mark)

    def _is_new(self, alert: Mapping[str, Any]) -> bool:
        """Return whether an alert was not known; from now on it is."""
        name = identity(alert)
        if name in self._known:
            return False
        self._known.add(name)
        if self._exporter is not None:
            self._exporter.count(alert)
        return True

    def _mark_late(self, at_end: bool = False) -> None:
        if mark := self._monitor.late_mark(at_end):
            self._append("mark", **mark)

    def _give_account(self) -> None:
        pairs = self._monitor.pairs
        account = {
            "joined": pairs.join.joined,
            "unmatched": pairs.join.unmatched,
            "late": pairs.join.late,
            "coupling": [[*pair, *known] for pair, known in pairs.coupling().items()],
            **self._notifier.account(),
            **(self._otlp.account() if self._otlp is not None else {}),
        }
        self._append("mark", mark="note", text="the stream layer's own account", detail=json.dumps(account))
        for failure in self._monitor.failures:
            self._append("mark", mark="error", text=failure)


def recorded_definitions(events: Iterable[Event]) -> dict[str, Any] | None:
    """Return the definitions that the run's last stream layer used, None where none were recorded."""
    found = None
    for event in events:
        if event.kind == "mark" and event.values.get("text") == SETTINGS_MARK:
            value = json.loads(event.values.get("detail") or "{}")
            found = value if isinstance(value, dict) else None
    return found
