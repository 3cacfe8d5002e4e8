"""What watches the log while it grows: the event-time join, detectors, alert policy."""
