"""How surprising what is left is: four p-values, a gate, bounds, and what else may be there."""
