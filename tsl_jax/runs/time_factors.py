"""How the scatter between runs depends on when a token is learned."""

import dataclasses
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from .scatter import RunScatter

#: A bin of learning times with fewer tokens than this says nothing of its own.
_LEAST_TOKENS = 30
#: Tokens of a sequence, and pairs of the same runs, are alike: a fraction scatters as if of half as many tokens.
_ALIKE = 2.0
#: Bins differ if their sum of squares exceeds what chance brings by so many of its standard deviations.
_DEVIATIONS = 3.0
_HALVINGS, _STEP = 50, 0.2


@dataclasses.dataclass(frozen=True)
class TimeFactors:
    """Factors on the variance between runs by when a token is learned.

    Attributes:
        parameter: that says when, such as ``"learning_time"``.
        edges: (bins - 1,) between bins, axis units.
        factors: (bins,) on the variance; 1 would be that of all learning times together.
    """

    parameter: str
    edges: tuple[float, ...]
    factors: tuple[float, ...]

    def at(self, time: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The factor of tokens learned at these times; 1 where a time is not known.

        Example:
            >>> TimeFactors("learning_time", (100.0,), (0.5, 2.0)).at(np.array([30.0, 3000.0, np.nan])).tolist()
            [0.5, 2.0, 1.0]
        """
        time = np.asarray(time, np.float64)
        known = np.isfinite(time)
        place = np.searchsorted(self.edges, np.where(known, time, 0), side="left")
        return np.where(known, np.asarray(self.factors)[place], 1.0)


def factors_by_time(
    scatter: RunScatter, factor: float, additive: float, level: float
) -> Float[np.ndarray, " times"] | None:
    """The factor in each bin of learning times with which intervals hold their share there.

    Logarithms f of the factors that a bin's own tokens ask for are drawn to their mean as their sampling variance v
    stands to the variance t² between bins: ``mean + t² / (t² + v) · (f - mean)`` (empirical Bayes).

    Args:
        scatter: of all tokens, by learning time.
        factor: of the variance of all learning times together, ``factor · s² + additive``.
        additive: likewise.
        level: probability of the intervals.

    Returns:
        (times,) factors; None where bins differ by no more than chance.
    """
    number = scatter.number.sum(axis=-1)
    known = number >= _LEAST_TOKENS
    if np.sum(known) < 2:
        return None

    def fraction(logarithms):
        inside = scatter.inside(factor, additive, level, np.exp(logarithms)).sum(axis=-1)
        return inside / np.maximum(number, 1)

    low, high = np.full(len(number), np.log(1e-16)), np.full(len(number), np.log(1e16))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        less = fraction(middle) < level
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    found = (low + high) / 2
    # What a fraction scatters by, over how much of it a factor moves; of a normal distribution at least half of that.
    z = NormalDist().inv_cdf((1 + level) / 2)
    least = z * NormalDist().pdf(z) / 2
    slope = np.maximum((fraction(found + _STEP) - fraction(found - _STEP)) / (2 * _STEP), least)
    sampling = _ALIKE * level * (1 - level) / (np.maximum(number, 1) * np.square(slope))
    weight = np.where(known, 1 / sampling, 0)
    mean = np.sum(weight * found) / np.sum(weight)
    squares, freedom = np.sum(weight * np.square(found - mean)), np.sum(known) - 1
    if squares <= freedom + _DEVIATIONS * np.sqrt(2 * freedom):
        return None
    between = np.mean((np.square(found - mean) - sampling)[known])
    trust = np.where(known, max(between, 0) / (max(between, 0) + sampling), 0)
    return np.exp(mean + trust * (found - mean))
