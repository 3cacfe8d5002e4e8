"""Engines that own their optimizers, and parts of torch that are rarely there: hooked when imported."""
