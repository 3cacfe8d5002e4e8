"""Alerts that repeat, folded into episodes: what, on which devices, how often, from when to when, the worst.

An episode is what people are told of; the log holds every alert. Whatever order alerts come in, the
episodes are the same, and a growing run only lets them grow: what was one episode stays in one.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thermograd.store.events import gravity
from thermograd.store.telling.quantities import counted, duration_text, moment_text
from thermograd.store.text import printable, without_nan

PAUSE_S = 1800.0  # without an alike alert for longer than this, an episode is over
_PAUSE_NS = round(PAUSE_S * 1e9)
ENDED_MARK = "alert_ended"
MOST_SHOWN = 20
_OF_THROTTLING = ("collapse.", "throttle.")

Ends = Mapping[tuple[str, str | None, int], int]  # alert, device, onset -> end; UTC epoch ns
_LOWER_IS_WORSE = "rle"
_TOLD = ("time_ns", "step", "device", "value", "score", "message")  # of the worst alert


@dataclass(frozen=True, slots=True)
class Episode:
    """Alike alerts, one after the other: the same name and metric, and mostly the same device.

    Attributes
    ----------
    devices
        The devices that the alerts are about; none where they are about no device.
    severity
        The gravest of all.
    first_ns, last_ns, end_ns
        When the first and the last began, and until when something of it is known to have lasted; UTC
        epoch ns.
    worst
        The gravest alert; of equally grave ones that with the largest score or value.
    active_s
        How long alerts had not ended in all, device by device; None where the log does not say.
    """

    alert: str
    metric: str | None
    devices: tuple[str, ...]
    severity: str
    count: int
    first_ns: int
    last_ns: int
    end_ns: int
    worst: Mapping[str, Any]
    active_s: float | None

    @property
    def span_s(self) -> float:
        """Seconds from the first onset to the last known end."""
        return (self.end_ns - self.first_ns) / 1e9

    @property
    def share(self) -> float | None:
        """Share of that time in which an alert had not ended, 0 to 1; None where it is not known.

        An alert ends when its condition was last met before a quiet time: shorter pauses count. So of a
        throttled device it is another number than the throttled time, which the driver counts.
        """
        if self.active_s is None or self.span_s <= 0 or self.count < 2:
            return None
        return min(1.0, self.active_s / (self.span_s * max(1, len(self.devices))))

    @property
    def is_beside_throttling(self) -> bool:
        """Whether its share may be taken for the share of time throttled, which is another number."""
        return self.share is not None and self.alert.startswith(_OF_THROTTLING)

    def to_json(self) -> dict[str, Any]:
        """Return the episode as a JSON object."""
        document = {
            "alert": self.alert,
            "severity": self.severity,
            "metric": self.metric,
            "devices": list(self.devices),
            "count": self.count,
            "first_time_ns": self.first_ns,
            "last_time_ns": self.last_ns,
            "end_time_ns": self.end_ns,
            "active_s": self.active_s,
            "share_of_time": self.share,
            "worst": {name: self.worst.get(name) for name in _TOLD},
        }
        return dict(without_nan(document))


def onset_ns(alert: Mapping[str, Any]) -> int:
    """Return when what an alert tells of began, as far as is known; UTC epoch ns."""
    time_ns, onset = int(alert["time_ns"]), alert.get("onset_time_ns")
    return time_ns if onset is None else min(int(onset), time_ns)


def ended_mark(
    values: Mapping[str, Any], alert: str, device: str | None, onset_ns: int, end_ns: int
) -> dict[str, Any]:
    """Return the mark that says when what an alert told of ended, at the time of the event that showed it."""
    told = {"alert": alert, "device": device, "onset_time_ns": onset_ns, "end_time_ns": end_ns}
    times = {name: int(values[name]) for name in ("time_ns", "monotonic_ns")}
    return times | {"mark": ENDED_MARK, "text": alert, "detail": json.dumps(told)}


def ends_of(marks: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str | None, int], int]:
    """Return when what alerts told of ended, from a run's marks; what cannot be read is left out."""
    ends = {}
    for mark in marks:
        if mark.get("mark") == ENDED_MARK and (read := _end_of(mark.get("detail"))):
            ends[read[0]] = read[1]
    return ends


def _end_of(detail: Any) -> tuple[tuple[str, str | None, int], int] | None:
    try:
        told = json.loads(detail)
        key = (str(told["alert"]), told["device"], int(told["onset_time_ns"]))
        return key, int(told["end_time_ns"])
    except (TypeError, ValueError, KeyError):
        return None


def fold_alerts(alerts: Iterable[Mapping[str, Any]], ends: Ends | None = None) -> list[Episode]:
    """Return the episodes of alerts, by their beginning.

    Alike are alerts with the same name, metric and device. They are one episode while no longer than half an
    hour passes without any: from when what one told of ended, as far as that is known, to the next onset.

    Parameters
    ----------
    alerts
        Rows of the `alert` kind, in any order.
    ends
        When what they tell of ended, see `ends_of`.

    Examples
    --------
    >>> heat = {"alert": "collapse.thermal", "device": "gpu", "severity": "critical"}
    >>> alerts = [heat | {"time_ns": second * 10**9} for second in (0, 60, 90, 9000)]
    >>> [(episode.count, episode.span_s) for episode in fold_alerts(alerts)]
    [(3, 90.0), (1, 0.0)]
    """
    alike: dict[tuple[str, str, str | None], list[_Entry]] = defaultdict(list)
    for alert in alerts:
        entry = _Entry.of(alert, ends or {})
        alike[entry.name, str(alert.get("metric") or ""), entry.device].append(entry)
    return _in_order(_episode(group) for entries in alike.values() for group in _runs(entries))


def told_episodes(episodes: Sequence[Episode], most: int = MOST_SHOWN) -> tuple[list[Episode], int]:
    """Return about as many episodes as fit, by their beginning, and how many others there are.

    Where there are too many, a kind of alert on a device is one, however long it paused; where those are
    too many, a kind of alert on all devices is. Of these the gravest are told, then those of most alerts.

    Examples
    --------
    >>> heat = {"alert": "collapse.thermal", "device": "gpu", "severity": "critical"}
    >>> episodes = fold_alerts(heat | {"time_ns": second * 10**9} for second in (0, 60, 90, 9000))
    >>> [(episode.count, episode.span_s) for episode in told_episodes(episodes, most=1)[0]]
    [(4, 9000.0)]
    """
    fewer = list(episodes)
    for by_device in (True, False):
        if len(fewer) > most:
            fewer = _merged(fewer, by_device)
    kept = sorted(fewer, key=lambda e: (-gravity(e.severity), -e.count, e.first_ns))[:most]
    return _in_order(kept), len(fewer) - len(kept)


def _in_order(episodes: Iterable[Episode]) -> list[Episode]:
    return sorted(
        episodes, key=lambda e: (e.first_ns, -gravity(e.severity), e.alert, e.metric or "", e.devices)
    )


def _merged(episodes: Iterable[Episode], by_device: bool) -> list[Episode]:
    alike: dict[tuple[Any, ...], list[Episode]] = defaultdict(list)
    for episode in episodes:
        alike[episode.alert, episode.metric or "", by_device and episode.devices].append(episode)
    return [_one_of(group) for group in alike.values()]


def _one_of(episodes: list[Episode]) -> Episode:
    first = min(episodes, key=lambda e: e.first_ns)
    worst = max(episodes, key=lambda e: (_badness(e.worst), -int(e.worst["time_ns"])))
    known = [e.active_s for e in episodes if e.active_s is not None]
    return replace(
        first,
        devices=tuple(sorted({device for e in episodes for device in e.devices})),
        severity=worst.severity,
        count=sum(e.count for e in episodes),
        last_ns=max(e.last_ns for e in episodes),
        end_ns=max(e.end_ns for e in episodes),
        worst=worst.worst,
        active_s=sum(known) if len(known) == len(episodes) else None,
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """An alert, its onset, until when it is known to have lasted, and its end where that is known."""

    alert: Mapping[str, Any]
    name: str
    device: str | None
    onset_ns: int
    until_ns: int
    end_ns: int | None

    @classmethod
    def of(cls, alert: Mapping[str, Any], ends: Ends) -> "_Entry":
        name, time_ns, begun_ns = str(alert["alert"]), int(alert["time_ns"]), onset_ns(alert)
        device = None if alert.get("device") is None else str(alert["device"])
        told_after = name == "sensor.gap" and alert.get("metric") in (None, "time_ns")
        end_ns = time_ns if told_after else ends.get((name, device, begun_ns))
        if end_ns is not None:
            end_ns = max(end_ns, begun_ns)
        return cls(alert, name, device, begun_ns, max(time_ns, end_ns or 0), end_ns)


def _runs(entries: list[_Entry]) -> list[list[_Entry]]:
    """Divide alike alerts where nothing of them lasted for longer than the pause."""
    entries = sorted(entries, key=lambda entry: (entry.onset_ns, entry.until_ns, _badness(entry.alert)))
    groups = [[entries[0]]]
    until_ns = entries[0].until_ns
    for entry in entries[1:]:
        if entry.onset_ns - until_ns > _PAUSE_NS:
            groups.append([])
        groups[-1].append(entry)
        until_ns = max(until_ns, entry.until_ns)
    return groups


def _episode(entries: list[_Entry]) -> Episode:
    first, last = entries[0], entries[-1]
    grave = [(_badness(entry.alert), -entry.onset_ns) for entry in entries]
    gravest = max(grave)
    worst = min((e for e, each in zip(entries, grave, strict=True) if each == gravest), key=_told_first)
    return Episode(
        alert=first.name,
        metric=first.alert.get("metric"),
        devices=tuple(sorted({entry.device for entry in entries if entry.device is not None})),
        severity=str(worst.alert.get("severity")),
        count=len(entries),
        first_ns=first.onset_ns,
        last_ns=last.onset_ns,
        end_ns=max(entry.until_ns for entry in entries),
        worst=worst.alert,
        active_s=_active_s(entries),
    )


def _told_first(entry: _Entry) -> tuple[int, bool, int, str]:
    """Return what tells equally grave alerts that began together apart: that of the earliest step is told."""
    step = entry.alert.get("step")
    told = [entry.alert.get(name) for name in ("severity", *_TOLD)]
    return entry.until_ns, step is None, step or 0, repr(told)


def _badness(alert: Mapping[str, Any]) -> tuple[int, float, float]:
    """Return what grows with how bad an alert is: its severity, then its score, then its value."""
    sign = -1.0 if alert.get("metric") == _LOWER_IS_WORSE else 1.0
    score, value = (sign * _number(alert.get(name)) for name in ("score", "value"))
    return gravity(alert.get("severity")), score, value


def _number(value: Any) -> float:
    """Return a number for an order: what is not known is below all."""
    return -math.inf if value is None or math.isnan(value) else float(value)


def _active_s(entries: list[_Entry]) -> float | None:
    """Return how long alerts had not ended, each device's times together once.

    The latest alert of a device may still last: then what came before it counts.
    """
    by_device: dict[str | None, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_device[entry.device].append(entry)
    total_ns = 0
    for each in by_device.values():
        if any(entry.end_ns is None for entry in each[:-1]) or (len(each) == 1 and each[0].end_ns is None):
            return None
        until_ns = each[0].onset_ns
        for entry in each:
            end_ns = entry.onset_ns if entry.end_ns is None else entry.end_ns
            total_ns += max(0, end_ns - max(until_ns, entry.onset_ns))
            until_ns = max(until_ns, end_ns)
    return total_ns / 1e9


def how_often(episode: Episode) -> str:
    """Return how often something was raised, on how many devices, how long, and for what share of that.

    Examples
    --------
    >>> heat = {"alert": "collapse.thermal", "device": "gpu", "severity": "critical"}
    >>> ends = {("collapse.thermal", "gpu", 0): 30 * 10**9}
    >>> (episode,) = fold_alerts([heat | {"time_ns": second * 10**9} for second in (0, 60)], ends)
    >>> how_often(episode)
    '2 times in 60 s, alerting for 50 % of it'
    """
    if episode.count == 1:
        return f"lasted {duration_text(episode.active_s)}" if episode.active_s else ""
    devices = f" on {counted(len(episode.devices), 'device')}" if len(episode.devices) > 1 else ""
    return f"{episode.count:,} times{devices} in {duration_text(episode.span_s)}{_alerting(episode)}"


def again(episode: Episode) -> str:
    """Return how many more alerts an episode is, for one who was told of its beginning.

    Examples
    --------
    >>> heat = {"alert": "collapse.thermal", "device": "gpu", "severity": "critical"}
    >>> again(fold_alerts(heat | {"time_ns": second * 10**9} for second in range(0, 600, 10))[0])
    '60 more in 9 min 50 s'
    """
    return f"{episode.count:,} more in {duration_text(episode.span_s)}{_alerting(episode)}"


def _alerting(episode: Episode) -> str:
    """Return the share of an episode's time in which its alerts had not ended: not what was throttled."""
    return "" if episode.share is None else f", alerting for {share_text(episode.share)} of it"


def share_text(share: float) -> str:
    """Return a share as percent, with a decimal only below one percent.

    Examples
    --------
    >>> share_text(0.431), share_text(0.0042), share_text(1.0)
    ('43 %', '0.4 %', '100 %')
    """
    return f"{100 * share:.{1 if 0 < share < 0.00995 else 0}f} %"


def episode_lines(episodes: Sequence[Episode]) -> list[str]:
    """Return each episode as one line: since when (UTC), severity, what, how often, and the worst of it."""
    days = {moment_text(episode.first_ns)[:10] for episode in episodes}
    return [_line(episode, with_date=len(days) > 1) for episode in episodes]


def _line(episode: Episode, with_date: bool) -> str:
    moment = moment_text(episode.first_ns, with_date)
    severity, alert = printable(episode.severity), printable(episode.alert)
    message, often = printable(episode.worst.get("message") or ""), how_often(episode)
    said = f"{often}; worst: {message}" if episode.count > 1 else message + (f" ({often})" if often else "")
    return f"{moment}  {severity:<8}  {alert:<17}  {said}"
