"""Numbers as sums of two float32, where one cannot hold them: axis values far from 0, close to each other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

#: An event's time is one number where that is exact to this fraction of the mean distance between checkpoints.
_EXACT = 2.0**-13
#: Nearer to 0 than so many windows there is nothing to gain: the window's own unit is as coarse.
_WINDOWS = 2.0


class Parts(NamedTuple):
    """Numbers as sums of two."""

    high: Any
    low: Any


def in_parts(values: Any, low: Any = None) -> Parts:
    """Values in two parts of JAX's default float, or of their own; ``low``: what is known to be beside them."""
    if not isinstance(values, jax.Array) and np.asarray(values).dtype.kind in "iuf":
        whole = np.asarray(values, np.float64)
        high = whole.astype(np.float32)
        return Parts(high, (whole - high).astype(np.float32))
    return Parts(values, jnp.zeros_like(values) if low is None else low)


def apart(scale: str, a: Parts, b: Parts) -> Any:
    """``u(a) - u(b)`` of two axis values, in the fitted coordinate."""
    distance = (a.high - b.high) + (a.low - b.low)
    if scale != "log":
        return distance
    near = jnp.abs(distance) < b.high / 2
    return jnp.where(near, jnp.log1p(jnp.where(near, distance / b.high, 0)), jnp.log(a.high) - jnp.log(b.high))


def is_narrow(axis: Any) -> bool:
    """Whether increasing values, known here, are so close for their distance from 0 that float32 blurs them."""
    axis = np.asarray(axis, np.float64)
    if axis.ndim != 1 or len(axis) < 2:
        return False
    range_, most = axis[-1] - axis[0], np.max(np.abs(axis[[0, -1]]))
    with np.errstate(over="ignore", invalid="ignore"):
        coarse = float(np.spacing(np.float32(most))) > _EXACT * range_ / (len(axis) - 1)
    return bool(most >= _WINDOWS * range_ and coarse)


def is_wider(value: Any, than: Any) -> bool:
    """Whether values are float64 beside float32, as event times in windows far from 0 are."""
    kinds = [np.dtype(getattr(one, "dtype", type(one))) for one in (value, than)]
    return kinds == [np.float64, np.float32]
