"""How far the clocks of a job's hosts are apart, from the ends of steps that all ranks share."""
