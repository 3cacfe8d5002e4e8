"""Writing live files of the log without any library."""
