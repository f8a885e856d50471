"""What sizes do to numbers of runs: lines over ln(size), shrunk."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class TrendSpread(NamedTuple):
    """Standard deviations before any data, of a logarithm: of the line's level, of its slope over ln(size), and of what
    a size is off the line."""

    level: float
    slope: float
    off: float


#: Of the gain of annealing, of the exponent and of the noise.
SPREADS = {
    "gain": TrendSpread(0.5, 0.3, 0.1),
    "exponent": TrendSpread(0.35, 0.1, 0.15),
    "noise": TrendSpread(1.0, 0.3, 0.5),
}
#: So many e-folds beyond the known sizes a shape still changes.
_BEYOND = 1.0


def trend(
    x: Float[np.ndarray, " sizes"], values: Float[np.ndarray, "sizes 2"], level: float, at: float, spread: TrendSpread
) -> tuple[float, float]:
    """Mean and standard deviation at a place of a line through values with variances, all normal.

    Args:
        x: ln(size).
        values: of each size the value and its variance.
        level: what the line's level is drawn to.
        at: the place.
        spread: what is likely before the values were seen.
    """
    columns = np.stack([np.ones_like(x), x], axis=1)
    precise = 1 / (values[:, 1] + spread.off**2)
    inverse = np.diag([spread.level**-2, spread.slope**-2]) + columns.T @ (columns * precise[:, None])
    right = columns.T @ (precise * values[:, 0]) + np.array([level * spread.level**-2, 0.0])
    mean, there = np.linalg.solve(inverse, right), np.array([1.0, at])
    return float(there @ mean), float(np.sqrt(there @ np.linalg.solve(inverse, there) + spread.off**2))


def trend_weights(place: Float[np.ndarray, " runs"], at: float, spread: TrendSpread) -> Float[np.ndarray, " runs"]:
    """How much each run counts in a line over ln(size) whose level is free and whose slope is shrunk; they add up to 1.

    Args:
        place: ln(size) of the runs.
        at: ln(size) that is asked for; beyond an e-fold outside the runs' the line is level.
        spread: what is likely before the runs were seen.
    """
    inside = np.clip(at, place.min() - _BEYOND, place.max() + _BEYOND)
    off = place - place.mean()
    return 1 / len(place) + (inside - place.mean()) * off / (off @ off + (spread.off / spread.slope) ** 2)


def scatter(loss: Float[np.ndarray, " rows"]) -> float:
    """Standard deviation of the noise (nat) from second differences, which a smooth course hardly has."""
    second = loss[2:] - 2 * loss[1:-1] + loss[:-2]
    return max(float(np.median(np.abs(second))) / 0.6745 / np.sqrt(6.0), 1e-4)
