"""The stream layer over a recorded log again: same code, same alerts."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError
from thermograd.store.events import WATCHED_KINDS, Event, was_watched
from thermograd.store.files import read_file, write_file
from thermograd.store.runs.names import result_dir
from thermograd.store.telling.episodes import Episode, ends_of, episode_lines, fold_alerts, told_episodes
from thermograd.store.telling.quantities import counted
from thermograd.store.text import nan_as_text
from thermograd.stream.alerts.alert import Alert, alert_line, digest
from thermograd.stream.join.lateness import LateEvents, last_seen
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings


@dataclass(eq=False)
class Replay:
    """What a replay raised, beside what was recorded live.

    `monitor` is as it is at the end: for the account of the join, correlations and coupling. `alerts` and
    `recorded` are those of the replay and of the log, as columns of the `alert` kind. `unseen` counts the
    steps and samples that were written after the live layer had ended, and left out here, too. `watched` is
    False where no stream layer watched the run: nothing does while logs are imported.
    """

    monitor: Monitor
    alerts: list[Alert] = field(default_factory=list)
    recorded: list[Alert] = field(default_factory=list)
    unseen: int = 0
    watched: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 over the replayed alerts; independent of the order in which they came out."""
        return digest(self.alerts)

    def check(self) -> dict[str, Any]:
        """Compare with the recorded alerts: the document of ``replay --check --json``.

        Of a run that nothing watched, ``identical`` and ``recorded`` are None: there is nothing to compare.
        """
        recorded = digest(self.recorded) if self.watched else None
        return {
            "identical": recorded == self.digest if self.watched else None,
            "recorded": recorded,
            "replayed": self.digest,
            "alerts": len(self.alerts),
        }

    @cached_property
    def episodes(self) -> list[Episode]:
        """The replayed alerts, those that repeat as one episode."""
        return fold_alerts(self.alerts, ends_of(self.monitor.take_ended()))

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``replay --json``."""
        episodes = [episode.to_json() for episode in self.episodes]
        return {"alerts": self.alerts, "episodes": episodes, "digest": self.digest}

    def lines(self, every: bool = False) -> list[str]:
        """Return the episodes as lines, or every alert."""
        if every:
            return [alert_line(alert) for alert in self.alerts]
        episodes, more = told_episodes(self.episodes)
        return episode_lines(episodes) + [f"and {counted(more, 'episode')} more"] * (more > 0)

    def sentence(self, check: bool) -> str:
        """Return in a line what came out, and whether it is what was recorded."""
        count = self.monitor.pairs.join
        text = counted(len(self.alerts), "alert")
        if len(self.episodes) < len(self.alerts):
            text += f" in {counted(len(self.episodes), 'episode')} (--every lists each)"
        text += f"; {counted(count.joined, 'step')} joined, {count.unmatched:,} without a sample"
        if count.late:
            text += f", {counted(count.late, 'event')} too late"
        if self.unseen:
            text += f", {self.unseen:,} written after the stream layer had ended"
        if not check:
            return text
        if not self.watched:
            return f"{text}\nnothing watched this run, so no alert was recorded live: nothing to compare"
        result = self.check()
        same = "identical to" if result["identical"] else "DIFFERENT from"
        text += f"\n{same} the {len(self.recorded)} recorded live"
        return f"{text}\nrecorded {result['recorded']}\nreplayed {result['replayed']}"

    def differences(self) -> tuple[list[Alert], list[Alert]]:
        """Return the alerts that only the log has, and those that only the replay has.

        The same time, name, device, metric and step make the same alert; scores and levels may differ.
        """
        old, new = {_key(alert) for alert in self.recorded}, {_key(alert) for alert in self.alerts}
        return (
            [alert for alert in self.recorded if _key(alert) not in new],
            [alert for alert in self.alerts if _key(alert) not in old],
        )

    def difference_text(self, most: int = 20) -> str:
        """Return the differences for a person, at most so many alerts of each side."""
        recorded, replayed = self.differences()
        lines = [
            f"{counted(len(self.alerts) - len(replayed), 'alert')} in both, {len(recorded):,} only recorded, "
            f"{len(replayed):,} only replayed"
        ]
        for sign, alerts in (("-", recorded), ("+", replayed)):
            lines += [f"{sign} {alert_line(alert)}" for alert in alerts[:most]]
            if len(alerts) > most:
                lines.append(f"{sign} and {len(alerts) - most:,} more")
        return "\n".join(lines)


def _key(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(alert.get(name) for name in ("time_ns", "alert", "device", "metric", "step"))


def replay_events(
    events: Iterable[Event],
    devices: Mapping[str, Mapping[str, Any]],
    settings: Settings | None = None,
    world_size: int | None = None,
    as_recorded: bool = True,
    marks: Sequence[Mapping[str, Any]] | None = None,
) -> Replay:
    """Run a log through a fresh `Monitor`.

    The live layer's marks say which events were too late for it and where it ended. Those events are left
    out of the same answers here, so the alerts are the same. With ``as_recorded=False`` they are not:
    every event counts, as in an analysis after the run.

    Parameters
    ----------
    events
        Of one run, in order of (time, writer, kind, seq); alerts among them are what was recorded.
    devices
        Facts of each device, from ``run.json``.
    settings
        Definitions to replay with.
    world_size
        Ranks of the training, from ``run.json``.
    as_recorded
        Whether to leave out what the live layer left out.
    marks
        The values of the run's marks, where they are known: then the events are taken one at a time, and
        need not be in memory.
    """
    if marks is None:
        events = list(events)
        marks = [event.values for event in events if event.kind == "mark"]
    left_out = LateEvents.from_marks(marks) if as_recorded else None
    seen = last_seen(marks) if as_recorded else None
    result = Replay(Monitor(devices, settings, world_size, left_out))
    for event in events:
        if event.kind == "alert":
            result.recorded.append(event.values)
        elif event.kind not in WATCHED_KINDS:
            continue
        elif seen is not None and event.values["seq"] > seen.get((event.writer, event.kind), -1):
            result.unseen += event.kind != "mark"
        else:
            result.alerts += result.monitor.process(event)
    result.alerts += result.monitor.close()
    result.watched = bool(result.recorded) or was_watched(marks)
    return result


def write_replay(run_dir: Path, run_id: str, replay: Replay, output: Path | None = None) -> Path:
    """Write the alerts of a replay, the definitions they come from, and what differs from the record.

    Without `output` the file is ``replays/<hash of the definitions>.json`` in the run's directory. One with
    the very same content may be there already; LogError, if it has other content or cannot be written.
    """
    settings, (only_recorded, only_replayed) = replay.monitor.settings, replay.differences()
    document = {
        "run_id": run_id,
        "definition": settings.definition_hash,
        "settings": settings.definitions(),
        "digest": replay.digest,
        "alerts": [nan_as_text(alert) for alert in replay.alerts],
        "only_recorded": [nan_as_text(alert) for alert in only_recorded],
        "only_replayed": [nan_as_text(alert) for alert in only_replayed],
    }
    path = output or result_dir(run_dir, "replays") / f"{settings.definition_hash}.json"
    _write_once(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
    return path


def _write_once(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode()
        if os.path.lexists(path):
            if read_file(path, len(content)) != content:
                raise LogError(
                    f"{path} is there with other content and is not overwritten; name another with -o"
                )
            return
        write_file(path, content)
    except OSError as error:
        raise LogError(f"cannot write {path}: {error.strerror or error}") from error
