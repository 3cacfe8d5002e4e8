"""Runs of known truth and a simulated GPU, both labelled simulated."""
