"""From what is seen of optimizer steps to rows: clip calls, norms, iterations."""
