"""How a device stands among the others of its model, in the runs that there are."""
