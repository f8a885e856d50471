"""Groups of tokens by a coordinate of the store: categories by name, numbers in bins of equally many tokens."""

import dataclasses

import numpy as np

from ...store import FitStore, StoreError
from ...store.code_names import names_of_codes
from ...store.samples import sampled_runs

#: A number with at most so many different values is a category; one with more is cut at its quantiles.
MOST_VALUES = 12
#: Quantiles come from at most so many tokens, in runs of so many.
_SAMPLED_TOKENS, _RUN_TOKENS = 2**20, 2**14


@dataclasses.dataclass(frozen=True)
class Grouping:
    """How one coordinate cuts tokens into groups.

    Attributes:
        coordinate: its name.
        labels: names of the groups, in the coordinate's order.
        values: (groups,) the value of each group, where groups are values; None where they are bins.
        edges: (groups - 1,) where bins end: a value on an edge belongs to the lower bin; None where groups are values.
    """

    coordinate: str
    labels: tuple[str, ...]
    values: np.ndarray | None = None
    edges: np.ndarray | None = None

    def of(self, column: np.ndarray) -> np.ndarray:
        """(tokens,) int32 number of each token's group; -1 for none: missing values, and values without a group."""
        known = np.isfinite(column) if column.dtype.kind == "f" else np.ones(len(column), bool)
        if self.edges is not None:
            number = np.searchsorted(self.edges, column, side="left")
        else:
            assert self.values is not None
            number = np.searchsorted(self.values, column)
            there = np.minimum(number, len(self.values) - 1)
            known &= self.values[there] == column
        return np.where(known, number, -1).astype(np.int32)


def grouping_of(fits: FitStore, coordinate: str, bins: int) -> Grouping:
    """Decide how a coordinate cuts the tokens of a store into groups.

    Codes with names (attribute ``"<coordinate>s"`` of the store, such as ``domains``) and numbers with at most
    `MOST_VALUES` values are categories. Other numbers are cut at their quantiles, which come from a million tokens in
    runs spread evenly over the store, and from all tokens of smaller stores.

    Args:
        fits: the store.
        coordinate: name of a token coordinate.
        bins: number of bins for numbers with many values; fewer where quantiles coincide.

    Returns:
        `Grouping`.

    Raises:
        StoreError: there is no such coordinate, it holds no numbers, or no finite ones.
    """
    array = fits.token_coordinates.get(coordinate)
    if array is None:
        known = ", ".join(fits.token_coordinates) or "none; the losses had no token coordinates"
        raise StoreError(f"by: got {coordinate!r}, expected a token coordinate of {fits.name}: {known}")
    if array.dtype.kind not in "biuf":
        raise StoreError(f"by: {coordinate!r} of {fits.name} is of dtype {array.dtype}, expected numbers or codes")
    names = names_of_codes(fits.attributes, coordinate)
    if names and array.dtype.kind in "iu":
        return Grouping(coordinate, tuple(names), values=np.arange(len(names)))
    column = _sample(fits, coordinate)
    column = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if not len(column):
        raise StoreError(f"by: {coordinate!r} of {fits.name} has no finite value to group by")
    values = np.unique(column)
    if len(values) <= MOST_VALUES:
        return Grouping(coordinate, tuple(_text(value) for value in values), values=values)
    # Cut at values that occur, so that labels say exactly what a bin holds.
    edges = np.unique(np.quantile(column, np.arange(1, bins) / bins, method="inverted_cdf"))
    edges = edges[edges < values[-1]]
    starts = [values[0], *(values[np.searchsorted(values, edge, side="right")] for edge in edges)]
    labels = tuple(_span(a, b) for a, b in zip(starts, [*edges, values[-1]], strict=True))
    return Grouping(coordinate, labels, edges=edges)


def _sample(fits: FitStore, coordinate: str) -> np.ndarray:
    """A coordinate of all tokens, or of a sample of them."""
    runs = sampled_runs(fits.num_tokens, _RUN_TOKENS, _SAMPLED_TOKENS)
    return np.concatenate([fits.read_coordinate(coordinate, run) for run in runs])


def _span(first, last) -> str:
    return _text(first) if first == last else f"{_text(first)} to {_text(last)}"


def _text(value) -> str:
    if isinstance(value, np.bool_ | bool):
        return "yes" if value else "no"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.4g}"
