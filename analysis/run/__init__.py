"""One run's analysis: its series, drivers, pairs, controls and result."""
