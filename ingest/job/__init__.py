"""Where a process stands: the current run, its place in the job, its facts."""
