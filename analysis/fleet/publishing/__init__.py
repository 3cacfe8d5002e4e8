"""Events and findings as tables that Spark, Trino, Polars and DuckDB read: Delta, and Iceberg."""
