"""A training's interventions: a schedule followed by step, each assignment logged before it is applied."""
