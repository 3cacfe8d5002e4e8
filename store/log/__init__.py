"""The crash-safe event log: writer, segments, reader, sealing."""
