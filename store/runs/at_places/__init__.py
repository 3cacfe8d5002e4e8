"""Runs of a folder or URL taken together: folding them, checking and sharing what is at a URL."""
