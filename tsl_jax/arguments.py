"""Checks of arguments: wrong input ends in an error that names the argument, what came, what is expected, the way out.

Without JAX, so that stores use them too. Arrays of JAX pass as they are, also while they are traced.
"""

import sys
from typing import Any

import numpy as np

#: The way out for what holds no real numbers, by the kind of its dtype.
_CURES = {
    "O": "make every row as long as the others and every value a number, then convert with np.asarray(..., 'float32')",
    "U": "convert the text to numbers with .astype('float32')",
    "S": "convert the text to numbers with .astype('float32')",
    "T": "convert the text to numbers with .astype('float32')",
    "c": "take its real part, or pass real and imaginary parts one by one",
    "M": "subtract a start and divide by a unit, as in (t - t[0]) / np.timedelta64(1, 's')",
    "m": "divide by a unit, as in t / np.timedelta64(1, 's')",
    "b": "True and False are no measured values: convert with .astype('float32') if 0 and 1 are meant",
}


def is_traced(value: Any) -> bool:
    """Whether JAX is tracing it, so that its values are not known."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def is_jax(value: Any) -> bool:
    """Whether it is an array of JAX, traced or not."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def as_array(name: str, value: Any) -> Any:
    """An array of NumPy or JAX as it is, masked values as NaN; all else (a list, a column of pandas) as NumPy's.

    Raises:
        ValueError: rows of different lengths, or masked values without a NaN. TypeError: no array can be made of it.
    """
    if isinstance(value, np.ma.MaskedArray):
        return unmasked(name, value)
    if isinstance(value, np.ndarray | np.generic) or is_jax(value):
        return value
    try:
        if any(map(is_traced, value if isinstance(value, list | tuple) else ())):
            return sys.modules["jax"].numpy.asarray(value)
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name}: got a {type(value).__name__} whose parts differ in length, expected an array; {_CURES['O']}"
        ) from error
    except (TypeError, RuntimeError) as error:  # those of other libraries say why in their own words
        raise TypeError(f"{name}: got {type(value).__name__}, expected an array ({error})") from error


def unmasked(name: str, value: np.ma.MaskedArray) -> np.ndarray:
    """A masked array with NaN, "not measured", for what is masked.

    Raises:
        ValueError: values are masked that are no floating-point numbers, which have no NaN.
    """
    if not np.ma.is_masked(value):
        return value.data
    if kind_of(value.dtype) != "f":
        raise ValueError(
            f"{name}: got a masked array of dtype {value.dtype}, which has no NaN for what is masked; convert it with "
            f"{name}.astype('float32'), or fill it with {name}.filled(...)"
        )
    return value.filled(np.nan)


def real_array(name: str, value: Any, *, boolean: bool = False) -> Any:
    """`as_array` of real numbers.

    Args:
        name: of the argument.
        value: what was given.
        boolean: whether True and False will do.

    Raises:
        TypeError: it holds anything else. ValueError: rows of different lengths.
    """
    array = as_array(name, value)
    kind = kind_of(array.dtype)
    if kind in "iuf" or (boolean and kind == "b") or (array.size == 0 and kind in "iufb"):
        return array
    came = repr(value) if value is None or isinstance(value, str) else f"dtype {array.dtype}"
    raise TypeError(f"{name}: got {came}, expected real numbers; {_CURES.get(kind, 'convert it to float32')}")


def kind_of(dtype: Any) -> str:
    """The kind of a dtype as NumPy letters it; ``"f"`` for bfloat16 and its like, which NumPy does not know."""
    if dtype.name.startswith(("bfloat", "float")):
        return "f"
    if dtype.name.startswith(("int", "uint")):
        return "i"
    return getattr(dtype, "kind", "V")


def known_array(name: str, value: Any, dtype: Any = np.float64) -> np.ndarray:
    """`real_array` in NumPy, converted to a dtype if one is given: for what has to be known before compilation.

    Raises:
        TypeError: no real numbers, or JAX is tracing it. ValueError: rows of different lengths.
    """
    array = real_array(name, value)
    if is_traced(array):
        raise TypeError(
            f"{name}: got an array that JAX is tracing (under jit, grad or vmap), expected values that are known; call "
            "this outside, or pass a NumPy array"
        )
    with np.errstate(over="ignore"):
        return np.asarray(array) if dtype is None else np.asarray(array).astype(dtype)


def real_number(name: str, value: Any, expected: str = "a real number") -> float:
    """One finite real number.

    Raises:
        TypeError: it is none. ValueError: it is not finite.
    """
    array = value if isinstance(value, int | float) else known_array(name, value)
    if np.ndim(array) != 0 or isinstance(value, bool | np.bool_):
        came = repr(value) if isinstance(value, bool | np.bool_) else f"shape {np.shape(array)}"
        raise TypeError(f"{name}: got {came}, expected {expected}")
    if not np.isfinite(float(array)):
        raise ValueError(f"{name}: got {float(array)}, expected {expected}")
    return float(array)


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """One whole number within bounds.

    Raises:
        TypeError: it is none. ValueError: it is out of bounds.
    """
    expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        array = value if isinstance(value, float) else None
        if array is None or not array.is_integer():
            raise TypeError(f"{name}: got {value!r}, expected {expected}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name}: got {value}, expected {expected}")
    return int(value)


def probability(name: str, value: Any, example: str = "0.9") -> float:
    """One number between 0 and 1, without them.

    Raises:
        ValueError: it is none.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and 0 < float(value) < 1):  # type: ignore[arg-type]
        raise ValueError(f"{name}: got {value!r}, expected a probability between 0 and 1, such as {example}")
    return float(value)


def refuse_falling(name: str, values: np.ndarray, cure: str) -> None:
    """Raise unless values increase, with the first pair that does not, and the way out.

    Raises:
        ValueError: two neighbours are equal or fall.
    """
    falls = np.flatnonzero(np.diff(values) <= 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"{name}: got {values[i]:g} then {values[i + 1]:g} at index {i + 1}, expected increasing values; {cure}"
        )
