"""What people are shown: pages, charts, figures for print, text for a terminal, Markdown, notebooks."""
