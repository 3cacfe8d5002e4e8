"""What a randomised experiment shows: tests by drawing the schedule again, on arrays."""
