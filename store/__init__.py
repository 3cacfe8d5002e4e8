"""The event log: kinds and columns, writing, reading, sealing, and SQL over it."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.store.errors import ThermogradError
    from thermograd.store.events import Event
    from thermograd.store.log.reader import Follower, events_in_order, read_kind
    from thermograd.store.log.seal import seal_run, verify_run
    from thermograd.store.log.writer import EventWriter
    from thermograd.store.query.connection import connect
    from thermograd.store.runs.catalogue import Run, create_run, find_run, list_runs
    from thermograd.store.runs.export import export_run
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.store.errors": "ThermogradError",
            "thermograd.store.events": "Event",
            "thermograd.store.log.reader": "Follower events_in_order read_kind",
            "thermograd.store.log.seal": "seal_run verify_run",
            "thermograd.store.log.writer": "EventWriter",
            "thermograd.store.query.connection": "connect",
            "thermograd.store.runs.catalogue": "Run create_run find_run list_runs",
            "thermograd.store.runs.export": "export_run",
        },
    )

__all__ = [
    "Event",
    "EventWriter",
    "Follower",
    "Run",
    "ThermogradError",
    "connect",
    "create_run",
    "events_in_order",
    "export_run",
    "find_run",
    "list_runs",
    "read_kind",
    "seal_run",
    "verify_run",
]
