"""Tables of any program: rows of CSV, JSON Lines and Parquet, whose columns have names."""
