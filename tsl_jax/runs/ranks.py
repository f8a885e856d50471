"""Rank correlation of any number of tokens, from counts in bins of ranks."""

import numpy as np
from jaxtyping import Int


def rank_correlation(counts: Int[np.ndarray, "bins bins"]) -> float:
    """Spearman's rank correlation from counts by the bins of both values; tokens of one bin share their middle rank.

    With 128 bins of about equally many tokens it is off by less than 1e-3: what is lost is the order within bins, of
    ranks 1/128 apart, whose variance is 1/128² of that of all ranks.

    Args:
        counts: tokens by the bin of the first value (rows) and that of the second (columns), both in increasing order.

    Returns:
        A number from -1 to 1; NaN with fewer than two tokens, or where all tokens are in one row or column.

    Example:
        >>> round(rank_correlation(np.array([[4, 1], [1, 4]])), 3)
        0.6

    Source: Spearman, American Journal of Psychology 15 (1904), with middle ranks for ties.
    """
    number = counts.sum()
    rows, columns = counts.sum(axis=1, dtype=np.float64), counts.sum(axis=0, dtype=np.float64)
    one, two = (np.cumsum(one) - (one + number) / 2 for one in (rows, columns))  # middle ranks less their mean
    variance = np.sum(rows * one**2) * np.sum(columns * two**2)
    if not variance > 0:
        return float("nan")
    return float(one @ counts @ two / np.sqrt(variance))
