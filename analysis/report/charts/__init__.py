"""Charts: interactive ones and their stills (Vega-Lite), and the figure for print (matplotlib)."""
