"""What the readings of a run show by themselves: doubts, sensors, clocks, rhythms, how slowly heat comes."""
