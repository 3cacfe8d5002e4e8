"""Reports as text: terminal and Markdown."""
