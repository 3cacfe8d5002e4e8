"""Stores that hold several runs: which of them is meant, and what each says of itself."""
