"""Which GPU, host, rack or rank has more trouble than its peers: exact tests given exposure."""

FEWEST_RANKS = 3  # of a job that are compared: of two nobody can say which one is slow
