"""Online detection of coupling (e-SR)."""
