"""What slows a device down, as its driver tells it, and for how long."""
