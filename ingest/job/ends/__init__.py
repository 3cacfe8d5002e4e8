"""How a process that is recorded ends, and who ends the run for it."""
