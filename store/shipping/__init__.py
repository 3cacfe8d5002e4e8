"""Runs that go to a URL: written to a spool of this machine, shipped sealed, kept until they are there."""
