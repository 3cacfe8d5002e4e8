"""Files of the kernel that are read at every sample: opened once, of each no more read than is needed."""
