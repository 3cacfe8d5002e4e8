"""One module a monitor that watches a whole machine: its processor, its rails, its counters."""
