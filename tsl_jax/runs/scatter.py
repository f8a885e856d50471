"""Differences between runs beside the standard errors that they should follow, from counts in bins of both."""

import dataclasses
from statistics import NormalDist

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from .plan import DIFFERENCE_BINS, ERROR_BINS

#: Groups of equally many tokens by their errors, over which coverage should be the same.
ERROR_GROUPS = 4


@dataclasses.dataclass(frozen=True)
class Scatter:
    """Sizes of differences by standard error; units are those of the coordinate's size.

    Attributes:
        error: (rows,) standard errors of one run (root mean square of the two), bins without tokens left out.
        below: (rows, edges) tokens whose difference is below each edge of `DIFFERENCE_BINS`.
    """

    error: Float[np.ndarray, " rows"]
    below: Int[np.ndarray, "rows edges"]

    @classmethod
    def of(cls, table: Int[np.ndarray, "errors differences"]) -> "Scatter":
        """From counts of `RunCounts.scatter`."""
        kept = table.sum(axis=1) > 0
        below = np.cumsum(table[kept], axis=1)
        return cls(ERROR_BINS.centres[kept], np.concatenate([np.zeros((len(below), 1), np.int64), below], axis=1))

    @property
    def number(self) -> Int[np.ndarray, " rows"]:
        """Tokens at each error."""
        return self.below[:, -1]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return int(self.number.sum())

    @property
    def typical_error(self) -> float:
        """The median error; NaN without tokens."""
        if not self.tokens:
            return float("nan")
        return float(np.exp(_middle(np.log(self.error), self.number, 0.5 / ERROR_BINS.density)))

    def within(
        self, factor: Float[ArrayLike, "*forms"], additive: Float[ArrayLike, "*forms"], width: float
    ) -> Float[np.ndarray, "*forms rows"]:
        """Differences of at most so many errors, ``width·sqrt(2·(factor·s² + additive))``, at each error s."""
        variance = np.multiply.outer(np.asarray(factor), np.square(self.error)) + np.asarray(additive)[..., None]
        place = DIFFERENCE_BINS.place(width * np.sqrt(2 * variance))
        at = np.minimum(place.astype(np.int64), DIFFERENCE_BINS.number - 1)
        rows = np.arange(len(self.error))
        lower, upper = self.below[rows, at], self.below[rows, at + 1]
        return lower + (place - at) * (upper - lower)

    def inside(
        self, factor: Float[ArrayLike, "*forms"], additive: Float[ArrayLike, "*forms"], level: float
    ) -> Float[np.ndarray, "*forms rows"]:
        """Differences within the interval of this probability, at each error."""
        return self.within(factor, additive, NormalDist().inv_cdf((1 + level) / 2))

    def coverage(self, factor: float, additive: float, level: float) -> float:
        """Share of all differences within their intervals; NaN without tokens."""
        if not self.tokens:
            return float("nan")
        return float(self.inside(factor, additive, level).sum() / self.tokens)

    def coverage_by_error(
        self, factor: Float[ArrayLike, "*forms"], additive: Float[ArrayLike, "*forms"], level: float
    ) -> Float[np.ndarray, "*forms groups"]:
        """The same in each quarter of the tokens by their errors; a bin on a border is shared out."""
        inside = self.inside(factor, additive, level)
        before = np.concatenate([[0], np.cumsum(self.number)])
        borders = np.linspace(0, self.tokens, ERROR_GROUPS + 1)
        total = np.concatenate([np.zeros((*inside.shape[:-1], 1)), np.cumsum(inside, axis=-1)], axis=-1)
        row = np.clip(np.searchsorted(before, borders, side="right") - 1, 0, len(self.number) - 1)
        part = (borders - before[row]) / self.number[row]
        at_borders = total[..., row] + part * (total[..., row + 1] - total[..., row])
        return np.diff(at_borders, axis=-1) / (self.tokens / ERROR_GROUPS)


def _middle(values: Float[np.ndarray, " rows"], number: Int[np.ndarray, " rows"], half: float) -> float:
    """The median of counts at bins of this half width, within its bin by a straight line."""
    before = np.cumsum(number)
    at = int(np.searchsorted(before, before[-1] / 2))
    return float(values[at] + half * (2 * (before[-1] / 2 - (before[at] - number[at])) / number[at] - 1))
