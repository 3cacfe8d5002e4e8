"""The fleet, live: what agents publish, how it travels, and what one consumer makes of all of it."""
