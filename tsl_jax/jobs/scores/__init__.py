"""From fits to weights of samples."""
