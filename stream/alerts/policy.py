"""Who is told of an alert: least severity, which alerts, and a cooldown against repetition.

The log is complete: every alert whose severity and kind the configuration raises at all is in it. What
a policy holds back, it holds back from one reader only (the terminal, a sink), so it is no part of what
a replay has to reproduce. It goes by the alerts' own times, not by the clock on the wall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thermograd.store.events import SEVERITIES, gravity
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.settings import Settings


def is_raised(alert: Mapping[str, Any], settings: Settings) -> bool:
    """Return whether an alert is raised at all: a property of the alert alone, whatever came before it."""
    section = settings.alerts
    return alert["alert"] not in section.off and gravity(alert["severity"]) >= gravity(section.minimum)


class AlertPolicy:
    """Decides for one reader which alerts reach it.

    Two alerts are alike if they have the same name, device and metric. Within `cooldown_s` of the last
    one that was let through, a like one is held back, unless it is graver; how many were is said with
    the next one that is let through. An alert that is older than the last one (writers are read in
    turns) counts as being within its cooldown.

    `minimum` is the least severity (info, warning, critical); `cooldown_s` are seconds of event time, 0 lets
    everything through; `only` names the alerts that are let through, none named means all. `held_back` counts
    the alerts held back for the cooldown so far.

    Examples
    --------
    >>> policy = AlertPolicy(minimum="warning", cooldown_s=300)
    >>> spike = {"alert": "spike.grad", "severity": "warning", "time_ns": 0}
    >>> [policy.admit(spike | {"time_ns": second * 10**9}) for second in (0, 10, 20, 400)]
    [0, None, None, 2]
    """

    def __init__(self, minimum: str = "info", cooldown_s: float = 0.0, only: Sequence[str] = ()) -> None:
        if minimum not in SEVERITIES or not cooldown_s >= 0:
            raise ValueError(
                f"minimum={minimum!r}, cooldown_s={cooldown_s!r}; expected one of {', '.join(SEVERITIES)}, "
                "and seconds >= 0"
            )
        self._least, self._only = gravity(minimum), frozenset(only)
        self._cooldown_ns = round(cooldown_s * 1e9)
        self._last: dict[tuple[str, str, str], _Admitted] = {}
        self.held_back = 0

    def admit(self, alert: Alert) -> int | None:
        """Return how many like it were held back before it; None where this one does not get through."""
        name = str(alert["alert"])
        time_ns, grave = int(alert["time_ns"]), gravity(alert["severity"])
        if (self._only and name not in self._only) or grave < self._least:
            return None
        key = (name, str(alert.get("device") or ""), str(alert.get("metric") or ""))
        last = self._last.get(key)
        if last is not None and grave <= last.gravity and 0 < self._cooldown_ns > time_ns - last.time_ns:
            last.held_back += 1
            self.held_back += 1
            return None
        self._last[key] = _Admitted(time_ns, grave)
        return 0 if last is None else last.held_back


@dataclass(slots=True)
class _Admitted:
    """The last alert of its kind that was let through, and how many were not since."""

    time_ns: int
    gravity: int
    held_back: int = 0
