"""Bounded fits of families with one parameter of shape, by exhaustive search in NumPy, float64.

For hyperbolas and power laws, what `benchmarks search` is for sigmoids: curves are ``f·(1 - s) + b·s`` with plateaus at
0 or above, every θ of a fine grid is tried, and the interval around the best is cut finer a few times. Independent of
`tsl_jax`.
"""

import numpy as np
from numpy.typing import NDArray

from .search import bounded_plateaus

#: ``s(x, exp(θ))`` of each family.
SHAPES = {
    "hyperbola": lambda x, rate: 1 / (1 + rate * x),
    "power_law": lambda x, rate: np.exp(-rate * x),
}
_GRID, _FINER, _ROUNDS = 256, 17, 6


def search_one(family: str, x: NDArray, losses: NDArray, lower: NDArray, upper: NDArray):
    """The best bounded curve for each row.

    Args:
        family: a name in `SHAPES`.
        x: (checkpoints,) its coordinate.
        losses: (curves, checkpoints).
        lower, upper: (1,) bounds of θ.

    Returns:
        rss (curves,), plateaus (curves, 2) as ``f, b``, and θ (curves, 1).
    """
    block = max(1, 2_000_000 // (len(x) * _FINER))
    parts = [
        _search_block(SHAPES[family], x, losses[start : start + block].astype(float), lower[0], upper[0])
        for start in range(0, len(losses), block)
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _search_block(shape, x, losses, lower, upper):
    grid = np.linspace(lower, upper, _GRID)
    s = shape(x, np.exp(grid)[:, None])
    square = (losses**2).sum(1)[:, None]
    sums = (((1 - s) ** 2).sum(1), ((1 - s) * s).sum(1), (s * s).sum(1), losses @ (1 - s).T, losses @ s.T)
    theta = grid[np.argmin(square + _change(*sums)[0], axis=1)]
    width, rows = (upper - lower) / (_GRID - 1), np.arange(len(losses))
    for _ in range(_ROUNDS):
        trial = np.clip(theta[:, None] + width * np.linspace(-1, 1, _FINER), lower, upper)
        s = shape(x, np.exp(trial)[..., None])
        y = losses[:, None]
        sums = (((1 - s) ** 2).sum(2), ((1 - s) * s).sum(2), (s * s).sum(2), (y * (1 - s)).sum(2), (y * s).sum(2))
        change, f, b = _change(*sums)
        best = np.argmin(change, axis=1)
        theta, width = trial[rows, best], width * 2 / (_FINER - 1)
        plateaus = np.stack([f[rows, best], b[rows, best]], 1)
    s = shape(x, np.exp(theta)[:, None])
    residual = losses - plateaus[:, :1] * (1 - s) - plateaus[:, 1:] * s
    return (residual**2).sum(1), plateaus, theta[:, None]


def _change(aa, ab, bb, ya, yb):
    """rss less the sum of squares of the losses, at the best plateaus, and those."""
    f, b = bounded_plateaus(aa, ab, bb, ya, yb)
    return f * (f * aa + 2 * b * ab - 2 * ya) + b * (b * bb - 2 * yb), f, b
