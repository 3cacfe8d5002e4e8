"""The rows of the runs, kept until a run's files change; and which runs a condition in SQL holds for."""

import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thermograd.store.errors import PlaceError, QueryError
from thermograd.store.files import is_folder
from thermograd.store.places.known import is_mirror, local_runs
from thermograd.store.places.stamps import stamps
from thermograd.store.query.sandbox import FOR_STRANGERS, answer
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.runs.table import RunRow

_FRESH_S = 1.0  # so long all who look share one look at the folder
_STALE_S = 4.0  # beyond that who looks waits for a new look
_LISTED_S = 10.0  # and at a URL
_MOST_CONDITIONS = 32
_LONGEST_CONDITION = 20_000
_ANSWER_BYTES = 32 << 20

Row = dict[str, Any]


@dataclass
class _Look:
    """One look at the runs, oldest first, and what was told of those that were asked for since."""

    runs: list[Run]
    at_s: float
    rows: dict[str, Row] = field(default_factory=dict)


class Rows:
    """What is told of each run of a place, at most a second old.

    A row is kept until a file of its run changes; whether a run is still live no file tells, so the row of
    a live one is made anew at each look.
    """

    def __init__(self, runs: Path, folder: Path) -> None:
        self._place = runs
        self._folder = folder
        self._kept: dict[str, tuple[str, Row]] = {}
        self._conditions: dict[str, tuple[float, frozenset[str]]] = {}
        self._look = _Look([], -1e9)
        self._listed_s = time.monotonic()
        self._turn = threading.Lock()
        self._making = threading.Lock()
        self._asking = threading.Lock()

    def look(self) -> _Look:
        """Return the runs as they are now."""
        with self._turn:
            if time.monotonic() - self._look.at_s > _FRESH_S:
                self._list_place()
                runs = [run for run in list_runs(self._folder) if self._is_here(run)]
                self._look = _Look(runs, time.monotonic())
                there = {run.run_id for run in runs}
                self._kept = {run_id: kept for run_id, kept in self._kept.items() if run_id in there}
            return self._look

    def recent(self) -> _Look:
        """Return the runs as they were some seconds ago at most: who looks often waits for no new look."""
        age_s = time.monotonic() - self._look.at_s
        if age_s > _STALE_S:
            return self.look()
        if age_s > _FRESH_S and not self._turn.locked():
            threading.Thread(target=self.look, daemon=True).start()
        return self._look

    def _list_place(self) -> None:
        if is_mirror(self._folder) and time.monotonic() - self._listed_s > _LISTED_S:
            with suppress(PlaceError):  # the network is down: as it was
                local_runs(self._place)
            self._listed_s = time.monotonic()

    def _is_here(self, run: Run) -> bool:
        return bool(run.entry) or is_folder(run.path)  # a link may lead anywhere

    def of(self, look: _Look, run: Run) -> Row:
        """Return the row of a run as of a look."""
        with self._making:
            if run.run_id not in look.rows:
                look.rows[run.run_id] = self._row(run)
            return look.rows[run.run_id]

    def _row(self, run: Run) -> Row:
        if run.entry:  # of a catalogue: no file is opened
            return RunRow(run).to_json()
        stamp = stamps(str(run.path)).row
        kept = self._kept.get(run.run_id)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        row = RunRow(run).to_json()
        if row["state"] != "live":
            self._kept[run.run_id] = stamp, row
        return row

    def warm(self) -> None:
        """Tell of every run once, so that the first who sorts by a loss does not wait for all of them."""
        look = self.look()
        for run in reversed(look.runs):
            self.of(look, run)
            time.sleep(0)  # whoever asks something comes first

    def fitting(self, look: _Look, where: str) -> frozenset[str]:
        """Return the ids of the runs for which a condition over the view ``runs`` holds.

        It is answered as ``query --untrusted`` is, in a process of its own, one at a time.

        Raises
        ------
        QueryError
            If the condition is none, or takes more than it may.
        """
        if len(where) > _LONGEST_CONDITION:
            raise QueryError(f"a condition may have {_LONGEST_CONDITION:,} characters")
        with self._asking:
            asked_s, found = self._conditions.get(where, (-1e9, frozenset()))
            if asked_s < look.at_s - _LISTED_S:
                asked_s, found = look.at_s, frozenset(_ids_of(where, self._folder))
                self._conditions[where] = asked_s, found
                for old in list(self._conditions)[:-_MOST_CONDITIONS]:
                    del self._conditions[old]
            return found


def _ids_of(where: str, folder: Path) -> Sequence[str]:
    limits = replace(FOR_STRANGERS, answer_bytes=_ANSWER_BYTES)
    parts = answer(f"SELECT run_id FROM runs WHERE (\n{where}\n)", folder, "json", limits)
    return [row["run_id"] for row in json.loads(b"".join(parts))]
