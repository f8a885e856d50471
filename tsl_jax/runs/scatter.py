"""Differences between runs beside the standard errors that they should follow, from counts in bins of both."""

import dataclasses
from statistics import NormalDist

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from .plan import DIFFERENCE_BINS, ERROR_BINS

#: Groups of equally many tokens by their errors, and by their learning times, over which coverage should be the same.
ERROR_GROUPS, TIME_GROUPS = 4, 3
#: Of variances between runs: a component of each of several forms at once, and a factor at each learning time.
PerForm = Float[ArrayLike, "*forms"]
PerTime = Float[ArrayLike, " times"]


@dataclasses.dataclass(frozen=True)
class RunScatter:
    """Sizes of differences by learning time and standard error; units are those of the coordinate's size.

    Attributes:
        error: (rows,) standard errors of one run (root mean square of the two), bins without tokens left out.
        below: (times, rows, edges) tokens whose difference is below each edge of `DIFFERENCE_BINS`.
    """

    error: Float[np.ndarray, " rows"]
    below: Int[np.ndarray, "times rows edges"]

    @classmethod
    def of(cls, table: Int[np.ndarray, "*times errors differences"]) -> "RunScatter":
        """From counts of `RunCounts.scatter`, or of all learning times together."""
        table = table.reshape(-1, *table.shape[-2:])
        kept = table.sum(axis=(0, 2)) > 0
        below = np.cumsum(table[:, kept], axis=-1)
        return cls(ERROR_BINS.centres[kept], np.concatenate([np.zeros((*below.shape[:2], 1), np.int64), below], -1))

    @property
    def together(self) -> "RunScatter":
        """The same without learning times."""
        return RunScatter(self.error, self.below.sum(axis=0, keepdims=True))

    @property
    def number(self) -> Int[np.ndarray, "times rows"]:
        """Tokens at each learning time and error."""
        return self.below[..., -1]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return int(self.number.sum())

    @property
    def typical_error(self) -> float:
        """The median error; NaN without tokens."""
        if not self.tokens:
            return float("nan")
        return float(np.exp(_middle(np.log(self.error), self.number.sum(axis=0), 0.5 / ERROR_BINS.density)))

    def within(
        self, factor: PerForm, additive: PerForm, width: float, by_time: PerTime = 1.0
    ) -> Float[np.ndarray, "*forms times rows"]:
        """Differences of at most so many errors, ``width·sqrt(2·by_time·(factor·s² + additive))``, at each error s."""
        variance = np.multiply.outer(np.asarray(factor), np.square(self.error)) + np.asarray(additive)[..., None]
        times = np.broadcast_to(np.asarray(by_time, np.float64), len(self.below))
        place = DIFFERENCE_BINS.place(width * np.sqrt(2 * times[:, None] * variance[..., None, :]))
        at = np.minimum(place.astype(np.int64), DIFFERENCE_BINS.number - 1)
        time, row = np.arange(len(self.below))[:, None], np.arange(len(self.error))
        lower, upper = self.below[time, row, at], self.below[time, row, at + 1]
        return lower + (place - at) * (upper - lower)

    def inside(
        self, factor: PerForm, additive: PerForm, level: float, by_time: PerTime = 1.0
    ) -> Float[np.ndarray, "*forms times rows"]:
        """Differences within the interval of this probability, at each learning time and error."""
        return self.within(factor, additive, NormalDist().inv_cdf((1 + level) / 2), by_time)

    def coverage(self, factor: float, additive: float, level: float, by_time: PerTime = 1.0) -> float:
        """Share of all differences within their intervals; NaN without tokens."""
        if not self.tokens:
            return float("nan")
        return float(self.inside(factor, additive, level, by_time).sum() / self.tokens)

    def coverage_by_error(
        self, factor: PerForm, additive: PerForm, level: float, by_time: PerTime = 1.0
    ) -> Float[np.ndarray, "*forms groups"]:
        """The same in each quarter of the tokens by their errors."""
        inside = self.inside(factor, additive, level, by_time).sum(axis=-2)
        return _in_groups(inside, self.number.sum(axis=0), ERROR_GROUPS)

    def coverage_by_time(
        self, factor: float, additive: float, level: float, by_time: PerTime = 1.0
    ) -> Float[np.ndarray, " groups"]:
        """The same in each third of the tokens by when they are learned."""
        inside = self.inside(factor, additive, level, by_time).sum(axis=-1)
        return _in_groups(inside, self.number.sum(axis=1), TIME_GROUPS)


def _in_groups(
    inside: Float[np.ndarray, "*forms rows"], number: Int[np.ndarray, " rows"], groups: int
) -> Float[np.ndarray, "*forms groups"]:
    """Shares of groups of equally many tokens, one row after another; a row on a border is shared out."""
    before = np.concatenate([[0], np.cumsum(number)])
    borders = np.linspace(0, before[-1], groups + 1)
    total = np.concatenate([np.zeros((*inside.shape[:-1], 1)), np.cumsum(inside, axis=-1)], axis=-1)
    row = np.clip(np.searchsorted(before, borders, side="right") - 1, 0, len(number) - 1)
    part = (borders - before[row]) / np.maximum(number[row], 1)
    at_borders = total[..., row] + part * (total[..., row + 1] - total[..., row])
    return np.diff(at_borders, axis=-1) / (before[-1] / groups)


def _middle(values: Float[np.ndarray, " rows"], number: Int[np.ndarray, " rows"], half: float) -> float:
    """The median of counts at bins of this half width, within its bin by a straight line."""
    before = np.cumsum(number)
    at = int(np.searchsorted(before, before[-1] / 2))
    return float(values[at] + half * (2 * (before[-1] / 2 - (before[at] - number[at])) / number[at] - 1))
