"""The fleet's alarms once more, from the logs of its runs."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from thermograd.store.events import Event
from thermograd.stream.fleet.budget import Alarm, FleetBudget
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings


class Recorded(NamedTuple):
    """A run's log: its id, its events in the order of the log, and the facts of its devices."""

    run: str
    events: Iterable[Event]
    devices: Mapping[str, Mapping[str, Any]]


def replay_fleet(
    runs: Iterable[Recorded], per_day: float = 1.0, settings: Settings | None = None
) -> list[Alarm]:
    """Return the alarms of the fleet's budget: those that a consumer gave which had all evidence in time.

    `settings` are those that the runs were watched with. The order of `runs` does not matter: all runs are
    read, then their evidence is settled second by second.
    """
    budget = FleetBudget(per_day=per_day)
    for recorded in runs:
        monitor = Monitor(recorded.devices, settings)
        standings = monitor.pairs.standings = []
        for event in recorded.events:
            monitor.process(event)
        monitor.close()
        for standing in standings:
            budget.take(recorded.run, *standing)
    return budget.advance(budget.newest)
