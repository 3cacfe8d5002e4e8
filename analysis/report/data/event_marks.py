"""Alerts as marks on panels and as a strip: where they are too many for a screen, each stretch's worst."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.report.data.panel import AlertTick, Kind, Mark
from thermograd.analysis.run.series import RunSeries
from thermograd.store.events import SEVERITIES

Alert = dict[str, Any]

_MOST = 2000  # marks of one kind: more than a screen has columns
_MOST_TEXTS = 1000
_LONGEST = 200


def onset_ns(alert: Alert) -> int:
    """Return when an alert's episode began, as far as is known; UTC epoch ns."""
    onset = alert["onset_time_ns"]
    return int(alert["time_ns"] if onset is None else onset)


def onsets_s(data: RunSeries, origin_ns: int) -> NDArray[np.float64]:
    """Return the onsets of all alerts, shape (n,), seconds since `origin_ns`."""
    return np.array([(onset_ns(alert) - origin_ns) / 1e9 for alert in data.alerts], dtype=np.float64)


def alert_marks(
    data: RunSeries, origin_ns: int, kind: Kind, prefixes: tuple[str, ...], edge: bool = False
) -> list[Mark]:
    """Return the alerts whose name begins with a prefix as marks, at the panel's edge or at their value."""
    alerts = [alert for alert in data.alerts if str(alert["alert"]).startswith(prefixes)]
    groups = _grouped(alerts, lambda alert: -abs(_finite(alert["value"]) or 0.0))
    return [
        Mark(
            kind,
            (onset_ns(alert) - origin_ns) / 1e9,
            None if edge else _finite(alert["value"]),
            _text(alert, more, brief=len(groups) > _MOST_TEXTS),
        )
        for alert, more in groups
    ]


def alert_ticks(data: RunSeries, origin_ns: int) -> tuple[AlertTick, ...]:
    """Return all alerts for the strip below the panels, of too many each stretch's most severe."""
    by_name: dict[str, list[Alert]] = {}
    for alert in data.alerts:
        by_name.setdefault(str(alert["alert"]), []).append(alert)
    ticks = []
    for name, alerts in by_name.items():
        groups = _grouped(alerts, severity_rank)
        brief = len(groups) > _MOST_TEXTS
        for alert, more in groups:
            known = alert["severity"] if alert["severity"] in SEVERITIES else "info"
            time_s = (onset_ns(alert) - origin_ns) / 1e9
            ticks.append(AlertTick(name[:60], known, time_s, _text(alert, more, brief)))
    return tuple(sorted(ticks, key=lambda tick: tick.time_s))


def severity_rank(alert: Alert) -> int:
    """Return 0 for the most severe."""
    known = alert["severity"] in SEVERITIES
    return len(SEVERITIES) - 1 - SEVERITIES.index(alert["severity"]) if known else len(SEVERITIES)


def _grouped(alerts: list[Alert], worst_first: Any) -> list[tuple[Alert, int]]:
    """Return alerts in time order, each with how many others of its stretch it stands for."""
    alerts = sorted(alerts, key=onset_ns)
    if len(alerts) <= _MOST:
        return [(alert, 0) for alert in alerts]
    first, last = onset_ns(alerts[0]), onset_ns(alerts[-1])
    stretch_ns = max(1, -(-(last - first + 1) // _MOST))
    stretches: dict[int, list[Alert]] = {}
    for alert in alerts:
        stretches.setdefault((onset_ns(alert) - first) // stretch_ns, []).append(alert)
    return [(min(group, key=worst_first), len(group) - 1) for group in stretches.values()]


def _text(alert: Alert, more: int, brief: bool) -> str:
    message = str(alert["message"] or alert["alert"])
    if brief:
        message = str(alert["alert"]) if alert["step"] is None else f"step {alert['step']}"
    return message[:_LONGEST] + (f", and {more} more near it" if more else "")


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
