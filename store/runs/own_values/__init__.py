"""What a script gave and logged of its own, as readers meet it: its configuration and its metrics."""
