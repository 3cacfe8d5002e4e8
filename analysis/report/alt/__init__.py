"""What figures show, in words, for those who do not see them."""
