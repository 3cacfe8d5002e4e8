"""Reading files of the log that nobody vouches for: sizes first, then what is whole, then its numbers."""
