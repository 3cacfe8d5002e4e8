"""The views of a connection: each is made, its modules loaded and its files listed, when it is needed."""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from thermograd.store.errors import LogError
from thermograd.store.events import KINDS
from thermograd.store.log.present.snapshots import Snapshot, snapshot
from thermograd.store.runs.catalogue import Run

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from thermograd.store.query.data.sources import Events

Taken = dict[tuple[str, str], Snapshot]  # by run and kind
_KIND_OF = {f"{kind}s": kind for kind in KINDS}


class Views:
    """The views and macros over some runs, for one connection, which may be locked already.

    Parameters
    ----------
    connection
        Where they are made.
    runs
        The runs.
    damaged
        Of a damaged file so many leading row groups only.
    taken
        What there was of runs, as far as it was looked at already.
    """

    def __init__(
        self,
        connection: "DuckDBPyConnection",
        runs: list[Run],
        damaged: dict[Path, int],
        taken: Taken | None = None,
    ) -> None:
        self._connection, self._runs, self._damaged = connection, runs, damaged
        self._taken = taken or {}
        self._events: dict[str, Events] = {}
        self._waiting: dict[str, Callable[[], None]] = {
            "runs": self._make_runs,
            "config": self._make_config,
            "labels": self._make_labels,
            "findings": self._make_findings,
            **{view: partial(self._make_events, view) for view in _KIND_OF},
            "efficiency": self._make_efficiency,
            "throttling": self._make_throttling,
            "episodes": self._make_episodes,
            "aligned": self._make_aligned,
            "aligned_with": self._make_aligned_with,
            "around": self._make_around,
        }

    def make(self, names: Collection[str] | None = None) -> bool:
        """Make the views of some names, all by default, that are not there; return whether any was made."""
        wanted = [view for view in self._waiting if names is None or view in names]
        for view in wanted:
            if view in self._waiting:  # what another one is made of may be there by now
                self._waiting.pop(view)()
        return bool(wanted)

    def _of_kind(self, kind: str) -> "Events":
        from thermograd.store.query.data.sources import Events

        if kind not in self._events:
            self._events[kind] = Events(self._runs, kind, self._damaged, self._taken)
        return self._events[kind]

    def _with_time(self, view: str, source: object) -> None:
        """Make a view of rows that have `time_ns`, of which it makes a time."""
        self._connection.register(f"_{view}", source)
        self._connection.execute(
            f"CREATE VIEW {view} AS SELECT run_id, make_timestamp_ns(time_ns) AS time, "
            f"* EXCLUDE (run_id) FROM _{view}"
        )

    def _make_runs(self) -> None:
        from thermograd.store.query.data.runs import RunsView

        self._connection.register("runs", RunsView(self._runs))

    def _make_config(self) -> None:
        from thermograd.store.query.data.config import config_view

        self._connection.register("config", config_view(self._runs))

    def _make_labels(self) -> None:
        from thermograd.store.query.data.labels import labels_view

        self._connection.register("labels", labels_view(self._runs))

    def _make_findings(self) -> None:
        from thermograd.store.query.data.findings import findings_view

        self._connection.register("findings", findings_view(self._runs))

    def _make_events(self, view: str) -> None:
        self._with_time(view, self._of_kind(_KIND_OF[view]).whole())

    def _make_efficiency(self) -> None:
        from thermograd.store.query.data.derived import efficiency_view

        self._with_time("efficiency", efficiency_view(self._of_kind("sample"), self._runs))

    def _make_throttling(self) -> None:
        from thermograd.store.query.data.derived import throttling_view

        self._connection.register("throttling", throttling_view(self._of_kind("sample"), self._runs))

    def _make_episodes(self) -> None:
        from thermograd.store.query.data.episodes import episodes_view

        view = episodes_view(self._of_kind("alert"), self._of_kind("mark"), self._runs)
        self._connection.register("episodes", view)

    def _make_aligned(self) -> None:
        from thermograd.store.query.data.alignment import aligned_view
        from thermograd.store.query.views import ALIGNED, ALIGNED_VIEW

        run_ids = [run.run_id for run in self._runs]
        self._connection.register(
            "_aligned", aligned_view(self._of_kind("step"), self._of_kind("sample"), run_ids)
        )
        for statement in (ALIGNED, ALIGNED_VIEW):
            self._connection.execute(statement)

    def _make_aligned_with(self) -> None:
        self.make(("aligned",))  # is made of it

    def _make_around(self) -> None:
        from thermograd.store.query.views import AROUND

        self.make(("runs", "steps", "samples", "alerts", "marks"))
        self._connection.execute(AROUND)


def taken(runs: list[Run], kinds: Collection[str]) -> Taken:
    """Return what there is of runs now; what cannot be read is told of when it is asked for."""
    found = {}
    for run in runs:
        for kind in kinds:
            with suppress(LogError):
                found[run.run_id, kind] = snapshot(run.path, kind)
    return found
