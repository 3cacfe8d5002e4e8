"""Power limits that thermograd sets for an experiment, and how each comes back to what was found."""
