"""Positions pooled in bins of equal width on a log scale."""

import numpy as np
from jaxtyping import Array, Float, Int

from ...arguments import known_array, refuse_falling, whole_number
from ...linalg.known import matmul, module_of


def log_bins(position: Float[Array | np.ndarray, " positions"], bins: int = 12) -> Int[np.ndarray, " positions"]:
    """Which of the log-spaced bins every position falls into, from 0; bins without a position are left out.

    Args:
        position: (positions,) counted from 1, increasing; known before compilation.
        bins: how many; there are fewer where neighbouring edges share a position.

    Returns:
        (positions,) number of the bin, increasing without gaps.

    Raises:
        ValueError: fewer than 2 bins, or positions that do not increase from 1 or above.

    Example:
        >>> import numpy as np
        >>> log_bins(np.arange(1, 9), bins=3).tolist()
        [0, 0, 1, 1, 2, 2, 2, 2]
    """
    places = checked_position(position)
    bins = whole_number("bins", bins, 2)
    edges = np.geomspace(places[0], places[-1] + 1, bins + 1)
    # A position on an edge opens the next bin, also where rounding left the edge just above it.
    bin_of = np.searchsorted(edges[1:-1] * (1 - 1e-12), places, side="right")
    return np.unique(bin_of, return_inverse=True)[1]


def checked_position(position) -> Float[np.ndarray, " positions"]:
    """Positions in float64, after checking that they are counted from 1 and increase.

    Raises:
        ValueError: they are not. TypeError: they are no real numbers.
    """
    position = known_array("position", position)
    if position.ndim != 1 or len(position) == 0:
        raise ValueError(f"position: got shape {position.shape}, expected (positions,) with at least one")
    if not np.all(np.isfinite(position)):
        raise ValueError(f"position: index {np.argmin(np.isfinite(position))} is not finite; leave it out")
    if position[0] < 1:
        raise ValueError(f"position: got {position[0]:g} at index 0, expected positions counted from 1; add 1 to all")
    refuse_falling("position", position, "sort the positions and merge repeated ones")
    return position


def weighted_mean(values, weights):
    """Mean over the last axis of the values that count; NaN where none does."""
    xp = module_of(values)
    total = xp.sum(weights, axis=-1)
    return xp.sum(xp.where(weights > 0, values, 0) * weights, axis=-1) / xp.where(total > 0, total, xp.nan)


def sum_of_squares(values, centre, weights):
    """Weighted sum over the last axis of the squares around a centre."""
    xp = module_of(values)
    return xp.sum(weights * xp.square(xp.where(weights > 0, values - centre[..., None], 0)), axis=-1)


def binned_r2(into, mean, curve, weights):
    """R² over bins of the weighted means of ``mean`` and ``curve`` in them."""
    xp = module_of(mean)
    total = matmul(weights, into)
    filled = total > 0

    def pooled(values):
        sums = matmul(weights * xp.where(weights > 0, values, 0), into)
        return sums / xp.where(filled, total, 1)

    measured, fitted = pooled(mean), pooled(curve)
    centre = weighted_mean(measured, filled.astype(weights.dtype))
    around = sum_of_squares(measured, centre, filled)
    return 1 - xp.sum(xp.where(filled, xp.square(measured - fitted), 0), axis=-1) / around
