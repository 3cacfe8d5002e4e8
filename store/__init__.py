"""The event log: kinds and columns, writing, reading, sealing, and SQL over it."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "errors": "ThermogradError",
        "events": "Event",
        "log.reader": "events_in_order read_kind",
        "log.following.follower": "Follower",
        "log.seal": "seal_run verify_run",
        "log.writer": "EventWriter",
        "query.connection": "connect",
        "runs.catalogue": "Run create_run find_run list_runs",
        "runs.export": "export_run",
    },
)

if TYPE_CHECKING:
    from thermograd.store.errors import ThermogradError as ThermogradError
    from thermograd.store.events import Event as Event
    from thermograd.store.log.following.follower import Follower as Follower
    from thermograd.store.log.reader import events_in_order as events_in_order, read_kind as read_kind
    from thermograd.store.log.seal import seal_run as seal_run, verify_run as verify_run
    from thermograd.store.log.writer import EventWriter as EventWriter
    from thermograd.store.query.connection import connect as connect
    from thermograd.store.runs.catalogue import (
        Run as Run,
        create_run as create_run,
        find_run as find_run,
        list_runs as list_runs,
    )
    from thermograd.store.runs.export import export_run as export_run
