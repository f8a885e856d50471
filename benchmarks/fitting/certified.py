"""The best known fits of the quality table that the tests judge the engine by, kept so that no test searches anew.

    python -m benchmarks certified

writes `tests/fitting/certified.npz`: for every row of the table the best of the exhaustive search, in float64, and the
sum of the losses it belongs to. `tests/fitting/test_quality.py` repeats a sample of the search.
"""

from pathlib import Path

import numpy as np

from . import oracle
from .problems import Cell, Problem, join, quality_rows

FILE = Path(__file__).parents[2] / "tests" / "fitting" / "certified.npz"
#: Curves in each cell of the quality table, by its checkpoints: what a test suite can afford.
QUALITY_CURVES = {16: 200, 64: 100, 128: 40, 512: 8}


def problem_of(row: list[Cell]) -> Problem:
    """The curves of a row of the table, cell after cell."""
    return join([cell.problem(QUALITY_CURVES[row[0].checkpoints]) for cell in row])


def best_of(row: list[Cell], problem: Problem) -> oracle.Best:
    """What is kept for a row.

    Raises:
        ValueError: the losses are not those that were searched.
    """
    key = _key(row)
    with np.load(FILE) as kept:
        if not np.isclose(kept[f"{key}/losses"], problem.losses.sum(dtype=float), rtol=1e-9):
            raise ValueError(f"{FILE.name}: {key} has other losses; run python -m benchmarks certified")
        return oracle.Best(*(kept[f"{key}/{name}"] for name in ("rss", "plateaus", "theta")))


def _key(row: list[Cell]) -> str:
    return f"{row[0].scale}-{row[0].spacing}-{row[0].checkpoints}"


def main() -> None:
    """Search every row and write the file."""
    arrays = {}
    for row in quality_rows():
        problem = problem_of(row)
        best = oracle.best_known(problem)
        arrays[f"{_key(row)}/losses"] = problem.losses.sum(dtype=float)
        for name in ("rss", "plateaus", "theta"):
            arrays[f"{_key(row)}/{name}"] = getattr(best, name)
        print(_key(row), len(problem))
    np.savez_compressed(FILE, **arrays)
