"""Steps out of what training logs call by many names and write at many times."""
