"""Charts: interactive ones and their stills (Altair), and the figure for print (matplotlib)."""
