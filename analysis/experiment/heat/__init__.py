"""Parts of the switchback test: coins, blocks, the cleaned outcome, sizes and the response."""
