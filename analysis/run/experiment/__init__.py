"""The experiments of one run: from marks, steps and samples to what they show."""
