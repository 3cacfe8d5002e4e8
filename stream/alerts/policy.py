"""Who is told of alerts at once, and who of how many: the first of an episode, then a summary now and then.

The log is complete: every alert whose severity and kind the configuration raises at all is in it. What
a policy holds back, it holds back from one reader only (the terminal, a sink), so it is no part of what
a replay has to reproduce. It goes by the alerts' own times, not by the clock on the wall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thermograd.store.events import SEVERITIES, gravity
from thermograd.store.telling.episodes import PAUSE_S, Ends, Episode, fold_alerts, onset_ns, told_episodes
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.settings import Settings

_PAUSE_NS = round(PAUSE_S * 1e9)
_AT_ONCE = 3  # devices of an episode that are each told of at once; of 64 the rest are in its summary
_MOST_HELD = 5000  # alerts, before a summary goes out early: memory is bounded


def is_raised(alert: Mapping[str, Any], settings: Settings) -> bool:
    """Return whether an alert is raised at all: a property of the alert alone, whatever came before it."""
    section = settings.alerts
    return alert["alert"] not in section.off and gravity(alert["severity"]) >= gravity(section.minimum)


class AlertPolicy:
    """Decides for one reader which alerts reach it at once; the others it counts, for a summary.

    Alike are alerts of the same name and metric. The first of an episode gets through at once, so does one
    that is graver than those before it, and the first of two further devices. All others are held back until
    `cooldown_s` after what was told last, then for twice as long and so on up to `longest_s`, or until the
    episode is over: then `due` returns what was held back as one episode. An alert that is older than the
    last one (writers are read in turns) counts as being of its episode.

    `minimum` is the least severity (info, warning, critical); `cooldown_s` and `longest_s` are seconds of
    event time, with a `cooldown_s` of 0 everything gets through; `only` names the alerts that are let
    through, none named means all. `held_back` counts the alerts held back so far.

    Examples
    --------
    >>> policy = AlertPolicy(minimum="warning", cooldown_s=300)
    >>> spike = {"alert": "spike.grad", "severity": "warning"}
    >>> [policy.admit(spike | {"time_ns": second * 10**9}) for second in (0, 10, 20)]
    [True, False, False]
    >>> [(episode.count, episode.span_s) for episode in policy.due(300 * 10**9)]
    [(2, 10.0)]
    """

    def __init__(
        self,
        minimum: str = "info",
        cooldown_s: float = 0.0,
        only: Sequence[str] = (),
        longest_s: float = 14_400.0,
    ) -> None:
        if minimum not in SEVERITIES or not (cooldown_s >= 0 and longest_s >= 0):
            raise ValueError(
                f"minimum={minimum!r}, cooldown_s={cooldown_s!r}, longest_s={longest_s!r}; expected one of "
                f"{', '.join(SEVERITIES)}, and seconds >= 0"
            )
        self._least, self._only = gravity(minimum), frozenset(only)
        self._cooldown_ns = round(cooldown_s * 1e9)
        self._longest_ns = max(self._cooldown_ns, round(longest_s * 1e9))
        self._followed: dict[tuple[str, str], _Followed] = {}
        self.held_back = 0

    def admit(self, alert: Alert) -> bool:
        """Return whether the reader is told of this alert at once."""
        name, grave = str(alert["alert"]), gravity(alert["severity"])
        if (self._only and name not in self._only) or grave < self._least:
            return False
        if not self._cooldown_ns:
            return True
        key, time_ns = (name, str(alert.get("metric") or "")), int(alert["time_ns"])
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(time_ns, self._cooldown_ns)
        if followed.is_told_at_once(time_ns, grave, alert.get("device"), self._cooldown_ns):
            return True
        followed.held.append(alert)
        self.held_back += 1
        return False

    def due(self, now_ns: int, ends: Ends | None = None, at_end: bool = False) -> list[Episode]:
        """Return what was held back and is to be told now, the gravest first; at the end all of it.

        `now_ns` is the time of the latest event; `ends` says when what the alerts tell of ended, as far as
        that is known.
        """
        episodes = []
        for key, followed in list(self._followed.items()):
            over = now_ns - followed.last_ns > _PAUSE_NS
            if followed.held and (at_end or over or followed.is_due(now_ns)):
                episodes += told_episodes(fold_alerts(followed.held, ends), most=1)[0]
                followed.told(now_ns, self._longest_ns)
            if over:
                del self._followed[key]
        return sorted(episodes, key=lambda episode: -gravity(episode.severity))

    def held_onsets(self) -> set[int]:
        """Return when what is held back began, for those who keep its ends."""
        held = [alert for followed in self._followed.values() for alert in followed.held]
        return {onset_ns(alert) for alert in held}


@dataclass(slots=True)
class _Followed:
    """An episode as one reader knows it: what it was told, and what was held back since."""

    told_ns: int
    wait_ns: int
    last_ns: int = -(2**63)
    gravity: int = -1
    devices: set[Any] = field(default_factory=set)
    held: list[Alert] = field(default_factory=list)

    def is_told_at_once(self, time_ns: int, grave: int, device: Any, cooldown_ns: int) -> bool:
        if time_ns - self.last_ns > _PAUSE_NS:  # another episode, also where nobody asked what was due
            self.gravity, self.devices = -1, set()
        self.last_ns = max(self.last_ns, time_ns)
        graver = grave > self.gravity
        if not graver and (device in self.devices or len(self.devices) >= _AT_ONCE):
            return False
        if graver:
            self.gravity, self.told_ns, self.wait_ns = grave, time_ns, cooldown_ns
        self.devices.add(device)
        return True

    def is_due(self, now_ns: int) -> bool:
        return now_ns - self.told_ns >= self.wait_ns or len(self.held) >= _MOST_HELD

    def told(self, now_ns: int, longest_ns: int) -> None:
        self.held = []
        self.told_ns, self.wait_ns = now_ns, min(2 * self.wait_ns, longest_ns)
