"""What the laws of training refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def refuse_rising(axis: Float[np.ndarray, " rows"], loss: Float[np.ndarray, " rows"]) -> None:
    """Refuse a loss whose median over the last third of the axis is not below that over the first.

    Raises:
        ValueError: it is not; the message says what to do.
    """
    order, third = np.argsort(axis), max(1, len(axis) // 3)
    early, late = np.median(loss[order[:third]]), np.median(loss[order[-third:]])
    if late >= early:
        way = "rises" if late > early else "does not fall"
        raise ValueError(
            f"loss: {way} from {early:.4g} (median of the first third) to {late:.4g} (last third), expected a loss "
            "that falls; give rows of a run that learns, or start later if it diverged first"
        )


def random_key(name: str, key: Any, default: Array | None = None) -> Array:
    """A random key of JAX; by default always the same.

    Raises:
        TypeError: it is something else.
    """
    if key is None:
        return jax.random.key(0) if default is None else default
    known = isinstance(key, jax.Array) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0)
        or (key.dtype == jnp.uint32 and key.shape == (2,))
    )
    if not known:
        came = f"an array of shape {key.shape}" if isinstance(key, jax.Array | np.ndarray) else repr(key)
        raise TypeError(f"{name}: got {came}, expected one random key, such as jax.random.key(0)")
    return key


def generator(name: str, key: Any, *more: int) -> np.random.Generator:
    """NumPy's generator from a random key of JAX and further numbers; by default always the same.

    Raises:
        TypeError: the key is something else.
    """
    words = [] if key is None else np.asarray(jax.random.key_data(random_key(name, key))).tolist()
    return np.random.default_rng([*words, *more])
