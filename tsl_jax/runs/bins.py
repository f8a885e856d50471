"""Counts in fine bins: quantiles and shares of any number of tokens, exact under any order and partition."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class LogBins:
    """Bins of equal width in the logarithm; what lies outside counts in the first or the last one.

    Args:
        low: lower end of the first bin, above 0.
        high: upper end of the last.
        density: bins an e-fold.
    """

    low: float
    high: float
    density: int

    @property
    def number(self) -> int:
        """How many bins there are."""
        return int(np.ceil(np.log(self.high / self.low) * self.density))

    @property
    def edges(self) -> Float[np.ndarray, " edges"]:
        """Where bins begin and end, one more than there are bins."""
        return self.low * np.exp(np.arange(self.number + 1) / self.density)

    @property
    def centres(self) -> Float[np.ndarray, " bins"]:
        """Geometric middles of the bins."""
        return self.low * np.exp((np.arange(self.number) + 0.5) / self.density)

    def place(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Where values lie, counted in bins from the lower end of the first, within 0 and the number of bins."""
        with np.errstate(divide="ignore"):
            place = np.log(values / self.low) * self.density
        return np.clip(place, 0, self.number)

    def index(self, values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """The bin of each value, 0 or above; values of 0 are in the first."""
        return np.minimum(self.place(values).astype(np.int64), self.number - 1)

    def below(self, counts: Int[np.ndarray, "*shape bins"], value: Float[np.ndarray, "*shape"]) -> np.ndarray:
        """How many values are below one value, for each row of counts; within a bin they are spread evenly."""
        place = self.place(np.asarray(value, np.float64))
        at = np.minimum(place.astype(np.int64), self.number - 1)[..., None]
        before = np.cumsum(counts, axis=-1)
        here = np.take_along_axis(counts, at, -1)[..., 0]
        return np.take_along_axis(before, at, -1)[..., 0] - here + (place - at[..., 0]) * here

    def quantile(self, counts: Int[np.ndarray, " bins"], level: float) -> float:
        """The value below which a fraction of the counts lies; NaN without counts."""
        return quantile(counts, self.edges, level)


def quantile(counts: Int[np.ndarray, " bins"], edges: Float[np.ndarray, " edges"], level: float) -> float:
    """The value below which a fraction of the counts lies, by a straight line within its bin; NaN without counts.

    Example:
        >>> quantile(np.array([1, 3]), np.array([0.0, 1.0, 2.0]), 0.5)
        1.3333333333333333
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    if before[-1] == 0:
        return float("nan")
    wanted = level * before[-1]
    at = min(int(np.searchsorted(before, wanted, side="right")) - 1, len(counts) - 1)
    while at > 0 and counts[at] == 0:  # the end of the last bin that holds something
        at -= 1
    part = np.clip((wanted - before[at]) / counts[at], 0, 1) if counts[at] else 0.0
    return float(edges[at] + part * (edges[at + 1] - edges[at]))


def signed_edges(bins: LogBins) -> Float[np.ndarray, " edges"]:
    """Edges of counts by sign and size: negative values from the largest on, then positive ones from the smallest on.

    The first bins on either side of 0 reach to 0.
    """
    edges = bins.edges.copy()
    edges[0] = 0.0
    return np.concatenate([-edges[:0:-1], edges])


def signed_index(bins: LogBins, values: Float[np.ndarray, " tokens"]) -> Int[np.ndarray, " tokens"]:
    """The bin of each value among those of `signed_edges`; 0 is with the positive ones."""
    size = bins.index(np.abs(values))
    return np.where(values < 0, bins.number - 1 - size, bins.number + size)
