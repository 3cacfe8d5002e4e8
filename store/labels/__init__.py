"""How the hosts of the runs are called: rack, switch or anything else."""
