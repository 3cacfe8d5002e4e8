"""Logs of other tools, read into a run: one module a format, and what they all need."""
