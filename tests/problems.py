"""What the tests take from the one table of problems, in sizes that a test suite can afford."""

from benchmarks.problems import Cell, identifiable, quality_rows, sigmoids

#: Curves in each cell of the quality table, by its checkpoints.
QUALITY_CURVES = {16: 200, 64: 100, 128: 40, 512: 8}

__all__ = ["QUALITY_CURVES", "Cell", "identifiable", "quality_rows", "sigmoids"]
