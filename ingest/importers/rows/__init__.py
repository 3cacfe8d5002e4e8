"""Rows of imported files beyond what fits into memory: kept, told apart, brought into time order."""
