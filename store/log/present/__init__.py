"""The log as it is at one moment: what one file holds, and what there is of a kind of events."""
