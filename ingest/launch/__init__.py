"""Unmodified training commands, instrumented from outside."""
