"""A replay with other definitions: written beside the recorded alerts, never over them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError
from thermograd.stream.alerts.alert import Alert, digest
from thermograd.stream.settings import Settings
from thermograd.stream.sinks.notifier import alert_line
from thermograd.stream.text import plain

_SAME = ("time_ns", "alert", "device", "metric", "step")


@dataclass(frozen=True)
class Difference:
    """Alerts of only one of two replays of a run; the same event and finding make the same alert."""

    only_recorded: list[Alert]
    only_replayed: list[Alert]
    in_both: int

    def sentences(self, most: int = 20) -> str:
        """Return the difference for a person, at most so many alerts of each side."""
        lines = [
            f"{self.in_both} alerts in both, {len(self.only_recorded)} only recorded, "
            f"{len(self.only_replayed)} only replayed"
        ]
        for sign, alerts in (("-", self.only_recorded), ("+", self.only_replayed)):
            lines += [f"{sign} {alert_line(alert)}" for alert in alerts[:most]]
            if len(alerts) > most:
                lines.append(f"{sign} and {len(alerts) - most} more")
        return "\n".join(lines)


def difference(recorded: Iterable[Alert], replayed: Iterable[Alert]) -> Difference:
    """Compare two sets of alerts by time, name, device, metric and step; scores and levels may differ."""
    old, new = list(recorded), list(replayed)
    old_keys, new_keys = {_key(alert) for alert in old}, {_key(alert) for alert in new}
    return Difference(
        [alert for alert in old if _key(alert) not in new_keys],
        [alert for alert in new if _key(alert) not in old_keys],
        sum(_key(alert) in old_keys for alert in new),
    )


def _key(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(alert.get(name) for name in _SAME)


def write_replay(
    run_dir: Path,
    run_id: str,
    settings: Settings,
    replayed: Iterable[Alert],
    recorded: Iterable[Alert],
    output: Path | None = None,
) -> Path:
    """Write the alerts of a replay, the definitions they come from, and what differs from the record.

    Parameters
    ----------
    run_dir, run_id
        The run; without `output` the file is ``replays/<hash of the definitions>.json`` in its directory.
    settings
        Definitions of the replay.
    replayed, recorded
        Alerts of the replay, and those of the log.
    output
        File to write.

    Returns
    -------
    Path
        The file. One with the very same content may be there already.

    Raises
    ------
    LogError
        If the file exists with other content, or cannot be written.
    """
    replayed = list(replayed)
    found = difference(recorded, replayed)
    document = {
        "run_id": run_id,
        "definition": settings.definition_hash,
        "settings": settings.definitions(),
        "digest": digest(replayed),
        "alerts": [plain(alert) for alert in replayed],
        "only_recorded": [plain(alert) for alert in found.only_recorded],
        "only_replayed": [plain(alert) for alert in found.only_replayed],
    }
    path = output or run_dir / "replays" / f"{settings.definition_hash}.json"
    _write_once(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
    return path


def _write_once(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_text(encoding="utf-8") != text:
                raise LogError(
                    f"{path} is there with other content and is not overwritten; name another with -o"
                )
            return
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
