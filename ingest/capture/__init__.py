"""What the training process taps: optimizer steps, gradient norms, losses."""
