"""The table of runs: what `thermograd runs` and the view ``runs`` say of each, and which are asked for.

A column costs what it takes to look: a count reads names of files, a loss the end of a log. Only the columns
that are asked for are computed.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from thermograd.store.files import read_json
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.places.shipped import told_now
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.tags import Tags, read_tags
from thermograd.store.telling.quantities import age_text, counted, duration_text
from thermograd.store.text import printable, table_text

VERDICT_FILE = "verdict.json"  # in the run's report
_LONGEST_REASON = 72
VERDICTS = ("coupled", "no_coupling", "inconclusive", "single_event", "insufficient", "effect", "no_effect")


class RunRow:
    """What is told of one run, each part gathered when it is first asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def get(self, column: str) -> Any:
        """Return the value of a column."""
        if column in self.known:
            return self.known[column]
        return self._summary[column] if column in self._summary else getattr(self, column)

    @cached_property
    def known(self) -> dict[str, Any]:
        """What the catalogue tells, as it is now; empty where the run's files are to be looked at."""
        return told_now(self.run.entry) if self.run.entry else {}

    @cached_property
    def _summary(self) -> dict[str, Any]:
        return self.run.summary()

    @cached_property
    def _end(self) -> tuple[int | None, Any]:
        from thermograd.store.runs.last_values import last_values

        return last_values(self.run.path, "step", "loss")

    @cached_property
    def _tags(self) -> Tags:
        return read_tags(self.run.path)

    @property
    def loss(self) -> float | None:
        """The loss of the last step that has one."""
        return self._end[1]  # type: ignore[no-any-return]

    @property
    def duration_s(self) -> float | None:
        """How long the run took, or takes so far, s; of a crashed one until its last step."""
        state = self.get("state")
        ended_ns = time.time_ns() if state == "live" else self.run.ended_time_ns(state)
        began_ns, ended_ns = self.run.started_time_ns, ended_ns or self._end[0]
        return None if ended_ns is None or began_ns is None else max(0.0, (ended_ns - began_ns) / 1e9)

    @property
    def verdict(self) -> str | None:
        """The verdict of the run's report; None where there is none, or the run has grown since."""
        report = read_json(self.run.path / "report" / VERDICT_FILE)
        verdict = report.get("verdict")
        is_of_all = verdict in VERDICTS and report.get("steps") == count_events(self.run.path, "step")
        return verdict if is_of_all else None

    @property
    def tags(self) -> list[str]:
        """The tags that people gave."""
        return self._tags.tags

    @property
    def notes(self) -> list[str]:
        """The notes that people wrote."""
        return [note["text"] for note in self._tags.notes]

    def to_json(self) -> dict[str, Any]:
        """Return every column: the object of ``runs --json``."""
        if self.known:
            return {name: self.known.get(name) for name in (*SUMMARY, *ADDED)}
        return self._summary | {name: getattr(self, name) for name in ADDED}

    def to_entry(self) -> dict[str, Any]:
        """Return the run's object in a catalogue: the row, its facts, and how many events it has by kind."""
        facts = {name: self.run.facts.get(name) for name in ("host", "source")}
        times = {"started_time_ns": self.run.started_time_ns, "ended_time_ns": self.run.ended_time_ns()}
        of_run = {"events": self.run.counts(), "facts": self.run.facts}
        return self.to_json() | facts | times | of_run


SUMMARY = (
    "run_id", "name", "started", "ended", "steps", "ranks", "samples", "alerts", "devices",
    "devices_label", "state", "reason", "exit_code",
)  # fmt: skip
ADDED = ("duration_s", "loss", "verdict", "tags", "notes")


def sorted_rows(rows: Sequence[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Return rows by a column, from the largest where a ``-`` precedes it; what is not known comes last.

    A ValueError names the columns that there are.
    """
    name = column.removeprefix("-")
    if rows and name not in rows[0]:
        raise ValueError(f"there is no column {name!r}; allowed: {', '.join(rows[0])}")
    known = [row for row in rows if row[name] is not None and row[name] == row[name]]  # not NaN
    unknown = [row for row in rows if row[name] is None or row[name] != row[name]]
    return sorted(known, key=lambda row: row[name], reverse=column != name) + unknown


def tagged(runs: Iterable[Run], tags: Sequence[str]) -> list[Run]:
    """Return the runs that have all of some tags."""
    return [run for run in runs if set(tags) <= set(RunRow(run).get("tags"))] if tags else list(runs)


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table for a terminal, without columns of which nothing is known."""
    columns = {name: [shown(row) for row in rows] for name, shown in _SHOWN.items()}
    known = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    return table_text(list(known), list(zip(*known.values(), strict=True)))


def age_line(runs: Iterable[Run]) -> str | None:
    """Return how old what is told of live runs is, where it comes from their rows at a URL; None for none."""
    live = [run.entry for run in runs if run.entry and told_now(run.entry)["state"] == "live"]
    until_ns = [entry["shipped_until_ns"] for entry in live if entry.get("shipped_until_ns")]
    if not until_ns:
        return None
    age = age_text((time.time_ns() - min(until_ns)) / 1e9)
    return f"Of {counted(len(live), 'live run')}: as of {age} ago, but for the duration."


def _duration(row: Mapping[str, Any]) -> str | None:
    return None if row["duration_s"] is None else duration_text(row["duration_s"])


_SHOWN: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "run_id": itemgetter("run_id"),
    "state": itemgetter("state"),
    "started": itemgetter("started"),
    "duration": _duration,
    "steps": itemgetter("steps"),
    "ranks": lambda row: row["ranks"] if row["ranks"] > 1 else None,
    "samples": itemgetter("samples"),
    "loss": itemgetter("loss"),
    "alerts": itemgetter("alerts"),
    "verdict": itemgetter("verdict"),
    "devices": lambda row: row["devices_label"] or None,
    "tags": lambda row: ", ".join(row["tags"]) or None,
    "reason": lambda row: None if row["reason"] is None else printable(row["reason"], _LONGEST_REASON),
}
