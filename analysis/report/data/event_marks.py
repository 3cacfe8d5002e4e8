"""Alerts as marks on panels, and in lanes below them: of too many, each stretch's count and worst."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.report.data.panel import AlertTick, Kind, Mark, counted_text
from thermograd.analysis.report.data.strips import MOST_MARKS, counted
from thermograd.analysis.run.series import RunSeries
from thermograd.store.events import SEVERITIES
from thermograd.store.telling.episodes import Ends, ends_of

Alert = dict[str, Any]

_MOST_KEPT = 400  # alerts whose readings stay in every thinned curve
_LONGEST = 200


def onset_ns(alert: Alert) -> int:
    """Return when an alert's episode began, as far as is known; UTC epoch ns."""
    onset = alert["onset_time_ns"]
    return int(alert["time_ns"] if onset is None else onset)


def onsets_s(data: RunSeries, origin_ns: int) -> NDArray[np.float64]:
    """Return the onsets whose readings every curve keeps, in s since `origin_ns`; of too many none."""
    if len(data.alerts) > _MOST_KEPT:
        return np.empty(0)
    return np.array([(onset_ns(alert) - origin_ns) / 1e9 for alert in data.alerts], dtype=np.float64)


def alert_marks(
    data: RunSeries, origin_ns: int, kind: Kind, prefixes: tuple[str, ...], edge: bool = False
) -> list[Mark]:
    """Return the alerts whose name begins with a prefix as marks, at the panel's edge or at their value."""
    ends = ends_of(data.marks)
    return [
        Mark(kind, start_s, None if edge else _finite(alert["value"]), _text(alert), end_s=end_s)
        for alert in sorted(data.alerts, key=onset_ns)
        if str(alert["alert"]).startswith(prefixes)
        for start_s, end_s in [_span_s(alert, ends, origin_ns)]
    ]


def _span_s(alert: Alert, ends: Ends, origin_ns: int) -> tuple[float, float | None]:
    """Return when what an alert tells of began and, where that is known, ended."""
    begun_ns = onset_ns(alert)
    device = None if alert["device"] is None else str(alert["device"])
    end_ns = ends.get((str(alert["alert"]), device, begun_ns))
    return (begun_ns - origin_ns) / 1e9, None if end_ns is None else (end_ns - origin_ns) / 1e9


def alert_ticks(data: RunSeries, origin_ns: int, end_s: float) -> tuple[AlertTick, ...]:
    """Return all alerts for the lanes below the panels; of a crowded lane, one for each stretch of time."""
    by_name: dict[str, list[Alert]] = {}
    for alert in sorted(data.alerts, key=onset_ns):
        by_name.setdefault(str(alert["alert"])[:60], []).append(alert)
    ticks, ends = [], ends_of(data.marks)
    for name, alerts in by_name.items():
        each = [
            AlertTick(name, _severity(alert), start_s, _text(alert), end_s=lasted_s)
            for alert in alerts
            for start_s, lasted_s in [_span_s(alert, ends, origin_ns)]
        ]
        ticks += each if len(each) <= MOST_MARKS else _crowded(each, end_s)
    return tuple(sorted(ticks, key=lambda tick: tick.time_s))


def _crowded(ticks: list[AlertTick], end_s: float) -> list[AlertTick]:
    found = counted([t.time_s for t in ticks], [1] * len(ticks), [t.end_s for t in ticks], end_s)
    shares = [None] * len(found.members) if found.share is None else found.share.tolist()
    merged = []
    columns = (found.start_s.tolist(), found.count.tolist(), found.members, shares)
    for start_s, count, members, share in zip(*columns, strict=True):
        within = [ticks[at] for at in members] or [max((t for t in ticks if t.time_s <= start_s), key=_begun)]
        worst = max(within, key=lambda tick: SEVERITIES.index(tick.severity))
        text = f"{counted_text(count, found.width_s, share)}, such as: {worst.text}"
        told = {"time_s": start_s, "text": text, "events": count, "width_s": found.width_s}
        merged.append(worst._replace(**told, end_s=None, share=share))
    return merged


def _begun(tick: AlertTick) -> float:
    return tick.time_s


def _severity(alert: Alert) -> str:
    return str(alert["severity"]) if alert["severity"] in SEVERITIES else "info"


def _text(alert: Alert) -> str:
    return str(alert["message"] or alert["alert"])[:_LONGEST]


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
