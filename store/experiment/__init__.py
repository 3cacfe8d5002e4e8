"""Randomised interventions: the schedule that a seed draws, and what the log holds of it. Pure; no arrays."""
