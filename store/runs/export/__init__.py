"""A run's events for other tools: tables, a trace, and what experiment trackers read."""

from thermograd.store.runs.export.exports import FORMATS, export_run, how_to_look

__all__ = ["FORMATS", "export_run", "how_to_look"]
