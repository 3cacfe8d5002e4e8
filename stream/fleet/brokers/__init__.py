"""What travels between agents and the consumer of a fleet, and how: one module a broker."""
