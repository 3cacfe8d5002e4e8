"""What the views of a query are made of: events as Arrow datasets, and rows computed when asked for."""
