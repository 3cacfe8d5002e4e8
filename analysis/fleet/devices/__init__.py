"""Which GPU, host, rack or rank has more trouble than its peers: exact tests given exposure."""
