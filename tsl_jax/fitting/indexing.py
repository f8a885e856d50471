"""Fits of some of the curves, as of an array over their first dimension."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced
from .few_sizes import on_host


def length_of(fit: Any) -> int:
    """Number of curves along the first dimension.

    Raises:
        TypeError: it is the fit of one curve alone.
    """
    shape = np.shape(fit.status)
    if not shape:
        raise TypeError("fit: got the fit of a single curve, which has no length; its arrays have shape ()")
    return shape[0]


def rows_of(fit: Any, index: Any) -> Any:
    """A fit with every array indexed alike; arrays stay JAX's or NumPy's, as they were.

    Args:
        fit: a pytree of arrays of one shape.
        index: an integer, a slice, a mask, an array of integers, or a tuple of them.

    Raises:
        IndexError: it lies outside, or a mask has another length. TypeError: it is none of these.
    """
    number = length_of(fit)
    if isinstance(index, str):
        raise TypeError(
            f"fit: got {index!r} as an index, expected rows; results are attributes, as fit.params[{index!r}]"
        )
    if hasattr(index, "__index__") and not isinstance(index, bool) and np.ndim(index) == 0 and not is_traced(index):
        place = operator.index(index)
        if not -number <= place < number:  # JAX would take the nearest
            raise IndexError(f"fit: got index {place}, expected one from {-number} to {number - 1}")
        index = place
    index = jax.tree.map(on_host, index)
    return jax.tree.map(lambda array: _rows(array, index), fit)


def _rows(array: Any, index: Any) -> Any:
    there = on_host(array)
    if not isinstance(there, np.ndarray):
        return array[index]
    # By NumPy: JAX would compile a program for every number of rows.
    rows = np.asarray(there[index])
    return jnp.asarray(rows) if isinstance(array, jax.Array) else rows
