"""Numbers of curves rounded up to few, so that a call with another number of them compiles nothing and keeps nothing.

JAX compiles for each shape and keeps what it compiled. Where nothing is traced, rows are therefore padded, and results
cut, by NumPy, and many curves are worked on in parts of one size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced

#: Fewer curves are padded to as many; more are worked on in parts of so many.
FEWEST, MOST = 256, 1 << 14


def padded_size(number: int, multiple: int = 1, fewest: int = FEWEST) -> int:
    """The least of few numbers that is not below ``number``: powers of two, then eighths of them in whole multiples."""
    unit = max(multiple, fewest)
    if number <= unit:
        return max(fewest, 1 << (number - 1).bit_length())
    step = -(-(1 << (number.bit_length() - 4)) // unit) * unit
    return -(-number // step) * step


def on_host(value: Any) -> Any:
    """Values known here as an array of NumPy; others, traced or of accelerators or of several devices, as they are."""
    if not isinstance(value, jax.Array):
        return value
    if is_traced(value) or len(value.devices()) > 1:
        return value
    (device,) = value.devices()
    # From an accelerator few rows come back sooner than a program for their number is compiled.
    few = value.ndim == 0 or value.size // max(value.shape[-1], 1) <= MOST
    return np.asarray(value) if device.platform == "cpu" or few else value


def device_of(value: Any) -> Any:
    """The device that an array was put on on purpose; None for any other."""
    return value.sharding if isinstance(value, jax.Array) and not is_traced(value) and value.committed else None


def in_few_sizes(
    function: Callable[..., Any],
    rows: Sequence[Any],
    *,
    shape: tuple[int, ...] | None = None,
    multiple: int = 1,
    fewest: int = FEWEST,
    most: int = MOST,
    device: Any = None,
) -> Any:
    """``function(*rows)``, called for few numbers of rows where the rows are NumPy's.

    Args:
        function: of arrays (rows, ...), row by row, to a pytree of such arrays.
        rows: its arguments, of equal length.
        shape: what the results' first axis is folded to; by default it stays.
        multiple: numbers of rows it likes are multiples of this.
        fewest: rows to pad to at least.
        most: rows in one call at most.
        device: where rows are put and results lie; None for JAX's default.
    """
    number = len(rows[0])
    shape = (number,) if shape is None else shape
    if not all(isinstance(row, np.ndarray) for row in rows):
        return jax.tree.map(lambda a: a.reshape((*shape, *a.shape[1:])), function(*rows))
    parts = []
    for start in range(0, max(number, 1), most):
        part = [row[start : start + most] for row in rows]
        size = padded_size(len(part[0]), multiple, fewest) if number <= most else most
        parts.append(function(*(_placed(_padded(row, size), device) for row in part)))
    leaves = jax.tree.leaves(parts[0])
    if any(map(is_traced, leaves)):  # by what else the function knows
        return jax.tree.map(lambda *a: jnp.concatenate(a)[:number].reshape((*shape, *a[0].shape[1:])), *parts)
    if len(parts) == 1 and shape == (number,) and all(len(leaf) == number for leaf in leaves):
        return parts[0]

    def joined(*pieces):
        whole = np.asarray(pieces[0]) if len(pieces) == 1 else np.concatenate([np.asarray(piece) for piece in pieces])
        return whole[:number].reshape((*shape, *whole.shape[1:]))

    return jax.device_put(jax.tree.map(joined, *parts), device)


def each(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(*arrays)``, element by element of arrays that broadcast, in few sizes where they are known here.

    Args:
        function: of arrays (n,), to a pytree of arrays (n, ...).
        arrays: of any one shape, or numbers.

    Returns:
        Arrays of that shape, and whatever axes the function adds.
    """
    device = next((found for found in map(device_of, arrays) if found is not None), None)
    arrays = tuple(map(on_host, arrays))
    if any(isinstance(a, jax.Array) for a in arrays):
        return function(*arrays)
    arrays = np.broadcast_arrays(*arrays)
    shape = arrays[0].shape
    return in_few_sizes(function, [a.reshape(-1) for a in arrays], shape=shape, device=device)


def _padded(row: np.ndarray, size: int) -> np.ndarray:
    """More rows, of NaN where the dtype has it, else of 0."""
    if len(row) == size:
        return row
    padded = np.zeros((size, *row.shape[1:]), row.dtype)
    padded[: len(row)] = row
    if jnp.issubdtype(row.dtype, jnp.floating):
        padded[len(row) :] = np.nan
    return padded


def _placed(row: np.ndarray, device: Any) -> Any:
    return row if device is None else jax.device_put(row, device)
