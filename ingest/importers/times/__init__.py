"""When imported rows happened: in UTC, in order, one device a name."""
