"""What every law of a falling loss refuses."""

import numpy as np
from jaxtyping import Float


def refuse_rising(axis: Float[np.ndarray, " rows"], loss: Float[np.ndarray, " rows"]) -> None:
    """Refuse a loss whose median over the last third of the axis is not below that over the first.

    Raises:
        ValueError: it is not; the message says what to do.
    """
    order, third = np.argsort(axis), max(1, len(axis) // 3)
    early, late = np.median(loss[order[:third]]), np.median(loss[order[-third:]])
    if late >= early:
        raise ValueError(
            f"loss: rises from {early:.4g} (median of the first third) to {late:.4g} (last third), expected a loss "
            "that falls; give rows of a run that learns, or start later if it diverged first"
        )
