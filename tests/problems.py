"""What the tests take from the one table of problems."""

from benchmarks.fitting.problems import Cell, identifiable, quality_rows, sigmoids

__all__ = ["Cell", "identifiable", "quality_rows", "sigmoids"]
