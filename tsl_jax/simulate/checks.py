"""What the simulations refuse, each in one place."""

import numbers
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike


def whole(name: str, value: int, least: int = 1, most: int | None = None) -> int:
    """A whole number within bounds.

    Raises:
        ValueError: it is none.
    """
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{name}: got {value!r}, expected a whole number, {bounds}")
    return int(value)


def number(name: str, value: float, least: float, most: float = np.inf, *, above: bool = False) -> float:
    """A finite number within bounds, ``least`` left out with ``above``.

    Raises:
        ValueError: it is none.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(value)
    if not real or value > most or value < least or (above and value == least):
        low = f"above {least:g}" if above else f"{least:g} or above"
        raise ValueError(
            f"{name}: got {value!r}, expected a number {low}{f' and at most {most:g}' if most < np.inf else ''}"
        )
    return float(value)


def span(name: str, bounds: Sequence[float], least: float = -np.inf, *, above: bool = False) -> tuple[float, float]:
    """Lower and upper end of a range; they may be equal.

    Raises:
        ValueError: not two finite numbers in order, or below ``least`` (or at it, with ``above``).
    """
    if np.shape(bounds) != (2,):
        raise ValueError(f"{name}: got {bounds!r}, expected a range (lowest, highest)")
    low, high = (number(name, value, least, above=above) for value in bounds)
    if low > high:
        raise ValueError(f"{name}: got {low:g} to {high:g}, expected the lower end first")
    return low, high


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """One of some words.

    Raises:
        ValueError: it is none of them.
    """
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}, expected {' or '.join(map(repr, allowed))}")
    return value


def positive_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """One or more finite numbers above 0, as a vector.

    Raises:
        ValueError: there is none, or one of them is not.
    """
    array = np.atleast_1d(np.asarray(values, np.float64))
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name}: got shape {array.shape}, expected one number or a vector of them")
    bad = array[~(np.isfinite(array) & (array > 0))]
    if bad.size:
        raise ValueError(f"{name}: got {bad[0]:g}, expected finite numbers above 0")
    return array


def increasing(name: str, values: ArrayLike, least: float = -np.inf, *, above: bool = False) -> np.ndarray:
    """Two or more finite numbers that increase.

    Raises:
        ValueError: they do not, are fewer, or lie below ``least`` (or at it, with ``above``).
    """
    array = np.asarray(values)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: got shape {array.shape} of {array.dtype}, expected a vector of at least 2 numbers")
    if not np.all(np.isfinite(array)) or not np.all(np.diff(array) > 0):
        raise ValueError(f"{name}: expected finite, strictly increasing values; sort them and keep one of each")
    if array[0] < least or (above and array[0] == least):
        raise ValueError(f"{name}: starts at {array[0]:g}, expected {'above' if above else 'at least'} {least:g}")
    return array


def increasing_steps(name: str, values: ArrayLike, least: int = 0) -> np.ndarray:
    """One or more whole numbers that increase, int64.

    Raises:
        ValueError: they do not, or the first lies below ``least``.
    """
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: got shape {array.shape} of {array.dtype}, expected a vector of whole numbers")
    if np.any(np.diff(array.astype(np.int64)) <= 0) or array[0] < least:
        raise ValueError(f"{name}: got {array[0]} to {array[-1]}, expected increasing steps from {least} or later")
    return array.astype(np.int64)
