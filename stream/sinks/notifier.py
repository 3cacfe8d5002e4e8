"""Tells people and programs of alerts: the terminal, and each sink by its own policy."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thermograd.store.errors import ConfigError
from thermograd.store.telling.advice import ADVICE as ADVICE
from thermograd.store.telling.devices import device_label
from thermograd.store.telling.episodes import Episode, again, ends_of
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import Alert, alert_line
from thermograd.stream.alerts.policy import AlertPolicy
from thermograd.stream.settings import Settings, SinkSettings, TerminalSettings, secret_value
from thermograd.stream.sinks.apprise import AppriseSink
from thermograd.stream.sinks.base import JsonlSink, Message, Sink
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.pictures import Picture, Pictures
from thermograd.stream.sinks.webhook import WebhookSink, check_url

_FEW_DEVICES = 3  # that a summary names
_CALLED = {
    "sent": "alerts sent to sink {}",
    "failed": "alerts that sink {} did not get",
    "held_back": "alerts held back from sink {}",
}
_MOST_ENDS = 4096  # kept, before those are let go of which nothing is held back


class Notifier:
    """All who are told of alerts. Telling never waits, never raises, and is no part of the record.

    `on_line` gets each line for the terminal, `on_trouble` one sentence when a sink cannot be made or fails,
    and one when it works again (from any thread, each at most once a sink); the others work. `run` has
    ``run_id`` and ``name``, for the sinks, and ``devices``, for what those are called. `pictures` makes those
    of critical alerts, for the sinks that want them.
    """

    def __init__(
        self,
        settings: Settings,
        on_line: Callable[[str], None],
        on_trouble: Callable[[str], None],
        run: Mapping[str, Any] | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self._on_line, self._pictures = on_line, pictures
        self._pictured = {name for name, section in settings.sinks.items() if section.picture}
        self._terminal = _policy(settings.terminal)
        self._run = {"run_id": (run or {}).get("run_id"), "run": (run or {}).get("name")}
        self._devices = dict((run or {}).get("devices") or {})
        self._ends: dict[tuple[str, str | None, int], int] = {}
        self._newest_ns = 0
        self._sinks: list[tuple[AlertPolicy, Outbox]] = []
        for name, section in settings.sinks.items():
            try:
                sink = make_sink(name, section)
            except ConfigError as error:
                on_trouble(f"sink {name!r} is off: {error}")
                continue
            policy = _policy(section, section.alerts)
            people = section.type != "jsonl"  # a file keeps the order of time
            outbox = Outbox(name, sink, on_trouble, section.attempts, grave_first=people)
            self._sinks.append((policy, outbox))

    def tell(self, alert: Alert) -> None:
        """Tell everybody whose policy admits it."""
        if self._terminal.admit(alert):
            self._on_line(alert_line(alert))
        for policy, outbox in self._sinks:
            if policy.admit(alert):
                outbox.put(self._message(alert, printable(alert["message"])), self._picture(outbox, alert))

    def _picture(self, outbox: Outbox, alert: Alert) -> Picture | None:
        """Return the picture that a sink's message is to have; alike for all sinks."""
        if self._pictures is None or outbox.name not in self._pictured:
            return None
        return self._pictures.of(alert)

    def tell_ended(self, mark: Mapping[str, Any]) -> None:
        """Learn, from a mark, when what an alert told of ended."""
        self._ends |= ends_of([mark])
        if len(self._ends) > _MOST_ENDS:
            held = {onset for policy in self._policies() for onset in policy.held_onsets()}
            self._ends = {key: end for key, end in self._ends.items() if key[-1] in held}

    def advance(self, now_ns: int, at_end: bool = False) -> None:
        """Tell everybody, as a summary, what was held back and is due at the time of the latest event."""
        self._newest_ns = max(self._newest_ns, now_ns)
        for episode in self._terminal.due(self._newest_ns, self._ends, at_end):
            self._on_line(alert_line({**episode.worst, "message": self._summary(episode)}))
        for policy, outbox in self._sinks:
            for episode in policy.due(self._newest_ns, self._ends, at_end):
                outbox.put(self._message(dict(episode.worst), self._summary(episode), episode))

    def _policies(self) -> list[AlertPolicy]:
        return [self._terminal, *(policy for policy, _ in self._sinks)]

    def _summary(self, episode: Episode) -> str:
        """Return what was held back in one sentence; a single alert is told as it is."""
        message = printable(episode.worst.get("message") or "")
        if episode.count == 1:
            return message
        labels = [device_label(name, self._devices) for name in episode.devices[:_FEW_DEVICES]]
        more = len(episode.devices) - len(labels)
        where = f" on {', '.join(labels)}{f' and {more} more' if more else ''}" if labels else ""
        return f"{again(episode)}{where}; worst: {message}"

    def _message(self, alert: Alert, text: str, episode: Episode | None = None) -> Message:
        severity = printable(alert["severity"])
        run = printable(self._run["run"] or self._run["run_id"] or "run")
        look_at = ADVICE.get(str(alert["alert"]))
        advice = f". Look at: {look_at}" if look_at else ""
        told = {
            "held_back": 0 if episode is None else episode.count - 1,
            "episode": None if episode is None or episode.count == 1 else _told(episode),
            "look_at": look_at,
        }
        return Message(
            title=f"thermograd {run}: {severity} {printable(alert['alert'])}",
            text=text + advice,
            severity=severity,
            values=alert | self._run | told,
        )

    def close(self, wait_s: float = 2.5) -> None:
        """Tell what was held back, and let every sink send it, together for at most `wait_s` seconds."""
        self.advance(self._newest_ns, at_end=True)
        end_s = time.monotonic() + wait_s
        if self._pictures is not None:
            self._pictures.finish()
        for _, outbox in self._sinks:
            outbox.finish()
        for _, outbox in self._sinks:
            outbox.close(end_s - time.monotonic())

    def account(self) -> dict[str, int]:
        """Return what each sink got, did not get, and was spared by its cooldown, by what that is called."""
        account = {_CALLED[outcome].format(sink): count for (sink, outcome), count in self.counts().items()}
        for _, outbox in self._sinks:
            if outbox.name in self._pictured:
                account[f"alerts sent to sink {outbox.name} with a picture"] = outbox.pictured
        if self._pictures is not None and self._pictured:
            account["pictures of alerts that could not be made"] = self._pictures.failed
        return account

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the same numbers by sink and outcome: ``sent``, ``failed`` or ``held_back``."""
        counts = {}
        for policy, outbox in self._sinks:
            counts[outbox.name, "sent"] = outbox.sent
            counts[outbox.name, "failed"] = outbox.dropped
            counts[outbox.name, "held_back"] = policy.held_back
        return counts


def _policy(section: TerminalSettings | SinkSettings, only: Sequence[str] = ()) -> AlertPolicy:
    return AlertPolicy(section.minimum, section.cooldown_s, only, section.longest_s)


def _told(episode: Episode) -> dict[str, Any]:
    """Return what a program is told of an episode beside the worst of its alerts."""
    names = ("devices", "count", "first_time_ns", "last_time_ns", "end_time_ns", "active_s", "share_of_time")
    document = episode.to_json()
    return {name: document[name] for name in names}


def make_sink(name: str, settings: SinkSettings, environment: Mapping[str, str] | None = None) -> Sink:
    """Return the sink that a table ``[sinks.NAME]`` describes.

    ConfigError, if a secret is not set in the environment, or an address cannot be used.
    """
    environment = os.environ if environment is None else environment
    url = secret_value(settings.url, f"sinks.{name}.url", environment)
    if settings.type == "jsonl":
        return JsonlSink(Path(settings.path))
    if settings.type == "webhook":
        check_url(url, f"sinks.{name}.url")
        token = secret_value(settings.token, f"sinks.{name}.token", environment)
        return WebhookSink(url, token, settings.timeout_s)
    return AppriseSink(url)
