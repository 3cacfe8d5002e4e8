"""Two series without what they share or repeat: trend, drivers, rhythms, own past."""
