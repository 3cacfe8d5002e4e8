"""What the readings of a run show by themselves: sensors, clocks, rhythms, how slowly heat follows."""
