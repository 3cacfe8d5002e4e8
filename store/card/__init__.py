"""The card of a run: its five lines, and what they say, counted while it is recorded."""
