"""The stream layer at work: follow a log, raise alerts into it, tell whoever is to be told."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from thermograd.store.events import SETTINGS_MARK, Event
from thermograd.stream.alerts.alert import identity
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import MetricsSettings, Settings
from thermograd.stream.sinks.notifier import Notifier

if TYPE_CHECKING:
    from thermograd.stream.sinks.prometheus import Exporter


_POLL_S = 0.5  # half a second is early enough for an alert; every look costs the trainer's machine


def watch_log(
    poll: Callable[[], list[Event]],
    append: Callable[..., Any],
    devices: Mapping[str, Mapping[str, Any]],
    stop: threading.Event,
    on_line: Callable[[str], None],
    settings: Settings | None = None,
    run: Mapping[str, Any] | None = None,
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
    """
    _watch(_looks(poll, stop), append, devices, on_line, settings or Settings(), run)


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
    silent = replace(settings or Settings(), sinks={}, metrics=MetricsSettings())
    _watch(([event] for event in events), append, run.get("devices", {}), lambda line: None, silent, run)


def _watch(
    looks: Iterable[list[Event]],
    append: Callable[..., Any],
    devices: Mapping[str, Mapping[str, Any]],
    on_line: Callable[[str], None],
    settings: Settings,
    run: Mapping[str, Any] | None,
) -> None:
    definitions = json.dumps(settings.definitions(), sort_keys=True)
    append("mark", mark="note", text=SETTINGS_MARK, detail=definitions)

    def trouble(text: str) -> None:
        append("mark", mark="error", text=text)
        on_line(f"thermograd: {text}")

    monitor = Monitor(devices, settings, (run or {}).get("job", {}).get("world_size"))
    notifier = Notifier(settings, on_line, trouble, run)
    exporter = _start_exporter(settings, devices, run, trouble)
    try:
        _follow(monitor, looks, _AlertRecorder(append, notifier, exporter), append, exporter)
    finally:
        if exporter is not None:
            exporter.close()
        notifier.close()
    _give_account(monitor, notifier, append)


def _start_exporter(
    settings: Settings,
    devices: Mapping[str, Mapping[str, Any]],
    run: Mapping[str, Any] | None,
    trouble: Callable[[str], None],
) -> "Exporter | None":
    section = settings.metrics
    if not section.port:
        return None
    from thermograd.stream.sinks.prometheus import Exporter  # a megabyte that only an exporter needs

    exporter = Exporter(devices, run)
    try:
        exporter.listen(section.port, section.host)
    except OSError as error:
        trouble(f"no metrics on {section.host}:{section.port} ({error.strerror or error}); all else goes on")
        return None
    return exporter


class _AlertRecorder:
    """Writes and tells each alert once, also where a stream layer before this one had raised it.

    An agent that is started again reads the run from its beginning and finds the same alerts.
    """

    def __init__(self, append: Callable[..., Any], notifier: Notifier, exporter: "Exporter | None") -> None:
        self._append, self._notifier, self._exporter = append, notifier, exporter
        self._known: set[str] = set()

    def is_new(self, alert: Mapping[str, Any]) -> bool:
        """Return whether an alert was not known; from now on it is."""
        name = identity(alert)
        if name in self._known:
            return False
        self._known.add(name)
        if self._exporter is not None:
            self._exporter.count(alert)
        return True

    def record(self, alerts: Iterable[dict[str, Any]]) -> None:
        """Write the new ones to the log and tell whoever is to be told."""
        for alert in alerts:
            if self.is_new(alert):
                self._append("alert", **alert)
                self._notifier.tell(alert)


def _looks(poll: Callable[[], list[Event]], stop: threading.Event) -> Iterator[list[Event]]:
    ending = False
    while not ending:
        ending = stop.wait(_POLL_S)  # one more look after the end
        yield poll()


def _follow(
    monitor: Monitor,
    looks: Iterable[list[Event]],
    recorder: _AlertRecorder,
    append: Callable[..., Any],
    exporter: "Exporter | None",
) -> None:
    for events in looks:
        for event in events:  # before the others: what the log holds is not told again
            if event.kind == "alert":
                recorder.is_new(event.values)
        for event in events:
            if event.kind != "alert":
                recorder.record(monitor.process(event))
        if mark := monitor.late_mark():
            append("mark", **mark)
        if exporter is not None:
            exporter.publish(events, monitor)
    recorder.record(monitor.close())
    if mark := monitor.late_mark(at_end=True):
        append("mark", **mark)


def _give_account(monitor: Monitor, notifier: Notifier, append: Callable[..., Any]) -> None:
    account: dict[str, Any] = {"joined": monitor.joined, "unmatched": monitor.unmatched, "late": monitor.late}
    account["coupling"] = [[*pair, *known] for pair, known in monitor.coupling().items()]
    account |= notifier.account()
    append("mark", mark="note", text="the stream layer's own account", detail=json.dumps(account))
    for failure in monitor.failures:
        append("mark", mark="error", text=failure)


def recorded_definitions(events: Iterable[Event]) -> dict[str, Any] | None:
    """Return the definitions that the run's last stream layer used, None where none were recorded."""
    found = None
    for event in events:
        if event.kind == "mark" and event.values.get("text") == SETTINGS_MARK:
            value = json.loads(event.values.get("detail") or "{}")
            found = value if isinstance(value, dict) else None
    return found
