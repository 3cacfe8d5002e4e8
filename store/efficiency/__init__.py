"""Recursive Load Efficiency: the estimator, its windows, its columns."""
