"""The directory of runs: catalogue, facts, retention, export."""
