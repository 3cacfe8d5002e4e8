"""What may be done to a training; one arm a module."""
