"""Runs beside each other: what they say together, and how alike they are."""
