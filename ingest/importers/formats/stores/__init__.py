"""Formats that are folders or databases, and may hold several runs."""
