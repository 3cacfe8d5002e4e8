"""Steps out of what training programs print: one table of patterns, and the reader of all of them."""
