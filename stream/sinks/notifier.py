"""Tells people and programs of alerts: the terminal, and each sink by its own policy."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from thermograd.store.errors import ConfigError
from thermograd.store.text import printable
from thermograd.stream.advice import ADVICE
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.alerts.policy import AlertPolicy
from thermograd.stream.settings import Settings
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.webhook import Message, make_sink


class Outlets:
    """All who are told of alerts. Telling never waits, never raises, and is no part of the record.

    Parameters
    ----------
    settings
        Terminal and sinks; a sink that cannot be made is told to `on_trouble`, the others work.
    on_line
        Called with each line for the terminal.
    on_trouble
        Called with one sentence when a sink fails, from any thread; at most once a sink.
    run
        ``run_id`` and ``name``, for the sinks.
    """

    def __init__(
        self,
        settings: Settings,
        on_line: Callable[[str], None],
        on_trouble: Callable[[str], None],
        run: Mapping[str, Any] | None = None,
    ) -> None:
        self._on_line = on_line
        self._terminal = AlertPolicy(settings.terminal.minimum, settings.terminal.cooldown_s)
        self._run = {"run_id": (run or {}).get("run_id"), "run": (run or {}).get("name")}
        self._outboxes: list[tuple[AlertPolicy, Outbox]] = []
        for name, section in settings.sinks.items():
            try:
                sink = make_sink(name, section)
            except ConfigError as error:
                on_trouble(f"sink {name!r} is off: {error}")
                continue
            policy = AlertPolicy(section.minimum, section.cooldown_s, section.alerts)
            self._outboxes.append((policy, Outbox(name, sink, on_trouble, section.attempts)))

    def tell(self, alert: Alert) -> None:
        """Tell everybody whose policy admits it."""
        if self._terminal.admits(alert):
            self._on_line(alert_line(alert) + _more(self._terminal.held_back_before))
        for policy, outbox in self._outboxes:
            if policy.admits(alert):
                outbox.put(self._message(alert, policy.held_back_before))

    def _message(self, alert: Alert, held_back: int) -> Message:
        severity = printable(alert["severity"])
        run = printable(self._run["run"] or self._run["run_id"] or "run")
        look_at = ADVICE.get(str(alert["alert"]))
        return Message(
            title=f"thermograd {run}: {severity} {printable(alert['alert'])}",
            text=printable(alert["message"])
            + _more(held_back)
            + (f". Look at: {look_at}" if look_at else ""),
            severity=severity,
            values=alert | self._run | {"held_back": held_back, "look_at": look_at},
        )

    def close(self, wait_s: float = 2.5) -> None:
        """Let every sink send what is left, together for at most `wait_s` seconds."""
        end_s = time.monotonic() + wait_s
        for _, outbox in self._outboxes:
            outbox.finish()
        for _, outbox in self._outboxes:
            outbox.close(end_s - time.monotonic())

    def account(self) -> dict[str, int]:
        """Return what each sink got, did not get, and was spared by its cooldown, by what that is called."""
        account = {}
        for policy, outbox in self._outboxes:
            account[f"alerts sent to sink {outbox.name}"] = outbox.sent
            account[f"alerts that sink {outbox.name} did not get"] = outbox.dropped
            account[f"alerts held back from sink {outbox.name}"] = policy.held_back
        return account


def _more(held_back: int) -> str:
    return f" ({held_back} like it held back since the last)" if held_back else ""


def alert_line(alert: Mapping[str, Any]) -> str:
    """Return an alert as one line: severity, what, and the sentence; no control characters."""
    return (
        f"{printable(alert['severity']):<8}  {printable(alert['alert']):<17}  {printable(alert['message'])}"
    )
