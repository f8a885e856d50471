"""A sample of the rows of a store: runs of consecutive rows, evenly spread from the first row to the last."""

import numpy as np


def sampled_runs(size: int, run: int, most: int) -> list[slice]:
    """Rows to look at instead of all of a store: a function of sizes alone, so that no layout changes a result.

    Args:
        size: rows of the store.
        run: consecutive rows that are read together, at most ``most``.
        most: rows at most; a store of no more is taken whole, in one run.
    """
    return [slice(0, size)] if size <= most else even_runs(size, run, most // run)


def even_runs(size: int, run: int, number: int) -> list[slice]:
    """So many runs of ``run`` rows each, the first at the first row of a store, the last at its end."""
    starts = np.linspace(0, size - run, number).astype(int)
    return [slice(int(start), int(start) + run) for start in starts]
