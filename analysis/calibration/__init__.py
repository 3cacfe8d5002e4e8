"""Processes of known truth, and how often the instrument is wrong on them."""
