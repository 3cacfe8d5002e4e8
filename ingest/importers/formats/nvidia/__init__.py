"""What NVIDIA's own tools print: a tool a file."""
