"""Several runs of the same tokens."""
