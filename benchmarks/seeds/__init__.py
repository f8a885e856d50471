"""What is said of a token, in another training run."""
