"""Moments and bands of a spectrum that is known, in NumPy: programs for them take longer to compile than to compute."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from .bootstrap import AT_ONCE, Bands, check, poisson_weights, tail_fraction
from .statistic import UNITS, Moments, Spectrum


def known_moments(spectrum: Spectrum) -> Moments:
    """`Spectrum.moments` in NumPy: nothing is compiled."""
    parts = (spectrum.count, spectrum.drop, spectrum.square, spectrum.kinds, spectrum.level)
    count, drop, square, kinds, level = (
        (part.integers().sum(0) * unit).astype(np.float32) for part, unit in zip(parts, UNITS, strict=True)
    )
    return Moments(count, drop, square, kinds, level[0] - level[1], spectrum.grid)  # pyright: ignore


def known_bands_of_sums(
    function: Callable[..., Any],
    sums: tuple[Any, ...],
    key: Array,
    *,
    replicates: int = 200,
    level: float = 0.9,
    together: Callable[[Any], Any] = lambda found: found,
) -> Bands:
    """`bands_of_sums` of a function of NumPy's arrays, of which nothing is compiled; the same draws.

    Args:
        function: of as many arguments as there are ``sums``.
        sums: pytrees of NumPy's arrays with the resample groups as first axis.
        key, replicates, level: as in `bands`.
        together: what is left to do for the results of all replicates, stacked.

    Returns:
        `Bands`, of NumPy's arrays in float32.

    Raises:
        ValueError: replicates or level outside their range.
    """
    check(replicates, level)
    groups = len(jax.tree.leaves(sums)[0])
    fraction = tail_fraction(level, groups, replicates)
    drawn = np.asarray(poisson_weights(key, replicates, groups))
    weights = np.concatenate([np.ones((1, groups), np.float32), drawn])
    found = []
    with np.errstate(all="ignore"):
        for start in range(0, len(weights), AT_ONCE):
            some = weights[start : start + AT_ONCE]
            summed = jax.tree.map(lambda array, some=some: np.tensordot(some, np.float32(array), 1), sums)
            rows = (jax.tree.map(lambda array, row=row: array[row], summed) for row in range(len(some)))
            found += [function(*row) for row in rows]
        results = together(jax.tree.map(lambda *each: np.stack(each), *found))
        results = jax.tree.map(np.float32, results)
        ends = [jax.tree.map(lambda a, f=f: _quantile(a[1:], f), results) for f in (fraction, 1 - fraction)]
    return Bands(jax.tree.map(lambda a: a[0], results), *ends)


def _quantile(values: np.ndarray, fraction: float) -> np.ndarray:
    """As `tsl_jax.spectrum.bootstrap._quantiles`, of the first axis."""
    ordered = np.sort(values, axis=0)
    last = np.sum(~np.isnan(values), axis=0) - 1
    place = fraction * np.maximum(last, 0)
    below = np.floor(place).astype(np.intp)
    low, high = (
        np.take_along_axis(ordered, at[None], 0)[0] for at in (below, np.clip(below + 1, 0, np.maximum(last, 0)))
    )
    between = (place - below).astype(np.float32)
    found = np.where(low == high, low, (1 - between) * low + between * high)
    return np.where(last >= 0, found, np.nan).astype(np.float32)
