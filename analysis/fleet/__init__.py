"""Thousands of runs at once: engines, statistics a run, what they say together."""
