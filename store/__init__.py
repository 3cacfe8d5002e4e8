"""The event log: kinds and columns, writing, reading, sealing, and SQL over it."""
