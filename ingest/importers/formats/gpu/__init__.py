"""Logs and screens of the tools that people watch GPUs with: a tool a file."""
