"""The axis of training, checked: steps, tokens, dynamic time."""

import numpy as np
from jaxtyping import Array, Float

from ...arguments import known_array, refuse_falling


def checked_axis(axis: Float[Array, " checkpoints"], least: int = 2) -> Float[np.ndarray, " checkpoints"]:
    """Axis values in float64; they must be known before compilation.

    Raises:
        TypeError: they are no real numbers.
        ValueError: fewer than ``least`` checkpoints, or values that are not finite, negative or not increasing.
    """
    values = known_array("axis", axis)
    if values.ndim != 1:
        raise ValueError(f"axis: got shape {values.shape}, expected (checkpoints,)")
    if len(values) < least:
        raise ValueError(f"axis: got {len(values)} checkpoints, expected at least {least}; measure more checkpoints")
    if not np.all(np.isfinite(values)):
        at = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"axis: value {values[at]} at index {at} is not finite; leave that checkpoint out")
    refuse_falling("axis", values, "sort the checkpoints and drop repeated ones")
    if values[0] < 0:
        raise ValueError(f"axis: got {values[0]:g} at index 0, expected values of 0 or above")
    return values
