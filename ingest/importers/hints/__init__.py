"""What a person says of a log that the log does not: its columns, units, device, start."""
