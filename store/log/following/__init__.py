"""Following a run that is being written."""
