"""Parts of the test of pulses: the cleaned outcome, scores of every draw, the response, e-values."""
