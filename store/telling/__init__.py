"""How results are told to people: counts and times in words, alerts that repeat as one episode."""
