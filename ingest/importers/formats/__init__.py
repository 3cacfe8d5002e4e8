"""One module a format of recorded logs."""
