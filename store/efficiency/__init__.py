"""Recursive Load Efficiency: the estimator, its windows, its columns; beside it energy between readings."""
