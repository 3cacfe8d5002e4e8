"""What a page tells of alerts: what repeats as one episode, the worst of it, and every episode on demand."""

from typing import Any

from thermograd.analysis.display.markup import Html, element
from thermograd.analysis.display.numbers import DASH
from thermograd.analysis.display.table import Table
from thermograd.analysis.run.series import RunSeries
from thermograd.store.events import SEVERITIES
from thermograd.store.telling.devices import device_label
from thermograd.store.telling.episodes import Episode, share_text, told_episodes
from thermograd.store.telling.quantities import counted, duration_text, elapsed_text

_MOST_EPISODES = 300
_FEW_DEVICES = 3
_DAYS_S = 2 * 86_400.0
_SHORT_S = 600.0  # a run in which tenths of a second tell times apart
_COLUMNS = {
    **{"Since": "n", "For": "n", "Severity": "t", "Alert": "t", "Times": "n", "Alerting": "n"},
    **{"Device": "i", "Worst": "w"},
}


def alerts_told(data: RunSeries, origin_ns: int, end_s: float) -> dict[str, Any]:
    """Return the episodes of a run's alerts as a table, and all of them where that folds some together."""
    told, more = told_episodes(data.episodes)
    every, left = told_episodes(data.episodes, _MOST_EPISODES)
    folded = len(data.alerts) > len(data.episodes) or len(told) < len(data.episodes)
    return {
        "alerts": _table(data, told, origin_ns, end_s),
        "alerts_counted": counted(len(data.alerts), "alert") if folded else "",
        "beside_throttling": any(episode.is_beside_throttling for episode in told),
        "more_episodes": more,
        "runs_for_days": end_s >= _DAYS_S,
        "every_episode": _table(data, every, origin_ns, end_s) if len(told) < len(every) else None,
        "episodes_left_out": left,
    }


def _table(data: RunSeries, episodes: list[Episode], origin_ns: int, end_s: float) -> Table:
    digits = 1 if end_s < _SHORT_S else 0
    rows = [_row(data, episode, origin_ns, digits) for episode in episodes]
    table = Table(_COLUMNS, rows, "Alerts", shown=None)
    for heading in ("Alerting", "Device"):
        place = list(table.columns).index(heading)
        if all(row[place] == DASH for row in table.rows):
            table = table.without(heading)
    return table


def _row(data: RunSeries, episode: Episode, origin_ns: int, digits: int) -> tuple[Any, ...]:
    seconds, severity = (episode.first_ns - origin_ns) / 1e9, episode.severity
    lasted_s = episode.span_s if episode.count > 1 else episode.active_s
    return (
        _link(elapsed_text(seconds, digits), seconds),
        DASH if not lasted_s else duration_text(lasted_s),
        element("span", severity, class_=severity if severity in SEVERITIES else ""),
        episode.alert,
        f"{episode.count:,}",
        DASH if episode.share is None else share_text(episode.share),
        _devices(data, episode.devices),
        _worst(episode, origin_ns, digits),
    )


def _link(text: str, seconds: float) -> Html:
    return element("a", text, href="#timeline", data_time=f"{seconds:.3f}")  # shows itself there


def _devices(data: RunSeries, names: tuple[str, ...]) -> str:
    if len(names) > _FEW_DEVICES:
        return counted(len(names), "device")
    known = data.devices
    labels = [known[n].label if n in known else device_label(n, {}) for n in names]
    return ", ".join(labels) or DASH


def _worst(episode: Episode, origin_ns: int, digits: int) -> Any:
    message = str(episode.worst.get("message") or "")
    seconds = (int(episode.worst["time_ns"]) - origin_ns) / 1e9
    if episode.count == 1:
        return message
    return Html(f"{_link(elapsed_text(seconds, digits), seconds)} {element('span', message)}")
