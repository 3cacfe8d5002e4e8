"""Steps and samples joined in event time."""
