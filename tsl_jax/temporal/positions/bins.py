"""Positions pooled in bins of equal width on a log scale."""

import numpy as np
from jaxtyping import Array, Float, Int

from ...arguments import known_array, refuse_falling, whole_number


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
