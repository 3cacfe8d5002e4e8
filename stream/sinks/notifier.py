"""Tells people and programs of alerts: the terminal, and each sink by its own policy."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thermograd.store.errors import ConfigError
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import Alert, alert_line
from thermograd.stream.alerts.policy import AlertPolicy
from thermograd.stream.settings import Settings, SinkSettings
from thermograd.stream.sinks.apprise import AppriseSink
from thermograd.stream.sinks.base import JsonlSink, Message, Sink
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.webhook import WebhookSink, check_url


class Notifier:
    """All who are told of alerts. Telling never waits, never raises, and is no part of the record.

    `on_line` gets each line for the terminal, `on_trouble` one sentence when a sink cannot be made or fails,
    and one when it works again (from any thread, each at most once a sink); the others work. `run` has
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
        self._sinks: list[tuple[AlertPolicy, Outbox]] = []
        for name, section in settings.sinks.items():
            try:
                sink = make_sink(name, section)
            except ConfigError as error:
                on_trouble(f"sink {name!r} is off: {error}")
                continue
            policy = AlertPolicy(section.minimum, section.cooldown_s, section.alerts)
            self._sinks.append((policy, Outbox(name, sink, on_trouble, section.attempts)))

    def tell(self, alert: Alert) -> None:
        """Tell everybody whose policy admits it."""
        held_back = self._terminal.admit(alert)
        if held_back is not None:
            self._on_line(alert_line(alert) + _more(held_back))
        for policy, outbox in self._sinks:
            held_back = policy.admit(alert)
            if held_back is not None:
                outbox.put(self._message(alert, held_back))

    def _message(self, alert: Alert, held_back: int) -> Message:
        severity = printable(alert["severity"])
        run = printable(self._run["run"] or self._run["run_id"] or "run")
        look_at = ADVICE.get(str(alert["alert"]))
        advice = f". Look at: {look_at}" if look_at else ""
        return Message(
            title=f"thermograd {run}: {severity} {printable(alert['alert'])}",
            text=printable(alert["message"]) + _more(held_back) + advice,
            severity=severity,
            values=alert | self._run | {"held_back": held_back, "look_at": look_at},
        )

    def close(self, wait_s: float = 2.5) -> None:
        """Let every sink send what is left, together for at most `wait_s` seconds."""
        end_s = time.monotonic() + wait_s
        for _, outbox in self._sinks:
            outbox.finish()
        for _, outbox in self._sinks:
            outbox.close(end_s - time.monotonic())

    def account(self) -> dict[str, int]:
        """Return what each sink got, did not get, and was spared by its cooldown, by what that is called."""
        account = {}
        for policy, outbox in self._sinks:
            account[f"alerts sent to sink {outbox.name}"] = outbox.sent
            account[f"alerts that sink {outbox.name} did not get"] = outbox.dropped
            account[f"alerts held back from sink {outbox.name}"] = policy.held_back
        return account


def _more(held_back: int) -> str:
    return f" ({held_back} like it held back since the last)" if held_back else ""


def make_sink(name: str, settings: SinkSettings, environment: Mapping[str, str] | None = None) -> Sink:
    """Return the sink that a table ``[sinks.NAME]`` describes.

    ConfigError, if a secret is not set in the environment, or an address cannot be used.
    """
    environment = os.environ if environment is None else environment
    url = _secret(settings.url, f"sinks.{name}.url", environment)
    if settings.type == "jsonl":
        return JsonlSink(Path(settings.path))
    if settings.type == "webhook":
        check_url(url, f"sinks.{name}.url")
        token = _secret(settings.token, f"sinks.{name}.token", environment)
        return WebhookSink(url, token, settings.timeout_s)
    return AppriseSink(url)


def _secret(text: str, where: str, environment: Mapping[str, str]) -> str:
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not environment.get(name):
        raise ConfigError(f"{where} is taken from the environment, but {name} is not set")
    return environment[name]


ADVICE: Mapping[str, str] = {
    "spike.grad": "the batch of this step, and the loss of the next ones; a norm far above its level is "
    "often one bad batch, or a learning rate that has become too high",
    "spike.loss": "the batch of this step, and whether the gradient norm spiked before it",
    "shift.grad": "what changed slowly: learning rate, data mixture, loss scale",
    "nonfinite": "loss scale and learning rate, then the batch; restart from a checkpoint before this step "
    "if the loss does not come back",
    "zero_grad": "frozen parameters, a detached graph, or a loss that is masked out completely",
    "collapse.thermal": "airflow, fans and inlet temperature of this device; neighbours that are just as hot",
    "collapse.brake": "the power supply: an external brake or a hardware slowdown that is not heat",
    "throttle.warn": "temperature of this device; it is about to lose speed",
    "power_limited": "nothing: a device at its power limit is normal; compare the limit with its neighbours'",
    "coupling": "a common cause that is not recorded (length of sequences, evaluation, data loading), then "
    "`thermograd analyze`",
    "sensor.gap": "the driver and the load of the host: readings came late or not at all",
}
