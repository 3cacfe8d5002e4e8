"""What the figures draw: panels, curves and marks as arrays and tables."""
