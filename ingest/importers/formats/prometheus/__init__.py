"""What Prometheus got from exporters of devices: as text, and as the JSON of its answers."""
