"""Figures of the learning-time spectrum."""
