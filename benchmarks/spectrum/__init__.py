"""The learning-time spectrum: speed, and its forecast."""
