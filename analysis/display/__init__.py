"""What every shown thing is made of: markup, numbers, colours. Knows no result class."""
