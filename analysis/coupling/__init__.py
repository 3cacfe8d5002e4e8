"""Statistics of two series, on arrays: correlation of residuals, its significance, its verdict."""
