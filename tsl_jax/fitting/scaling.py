"""Powers of two that keep squares within a floating-point type's range; multiplying by them loses nothing."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..curves import Family


def ordinary(dtype) -> int:
    """Numbers between 2^-this and 2^this are taken as they come: their squares, and the squares' rounding, are numbers.

    32 in float32 (1/4,000,000,000 to 4,000,000,000), 256 in float64.
    """
    return jnp.finfo(dtype).maxexp // 4


def power_of_two(size: Float[Array, "..."]) -> Float[Array, "..."]:
    """The power of two that brings ``size`` to between 1/2 and 1, without derivative; 1 of 0 and of what is no number.

    Where it would leave the type's range itself, the nearest one within.
    """
    size = lax.stop_gradient(size)
    usable = (size > 0) & (size < jnp.inf)
    # By the exponent's bits: of `frexp` and `ldexp` XLA makes a power, which took a fiftieth of a fit's time.
    kind = jnp.finfo(size.dtype)
    bits = lax.bitcast_convert_type(jnp.where(usable, size, 0.5), jnp.dtype(f"int{kind.bits}"))
    most = 2 * kind.maxexp - 3
    return lax.bitcast_convert_type(jnp.clip(most - (bits >> kind.nmant), 1, most) << kind.nmant, size.dtype)


def normalised(size: Float[Array, "..."]) -> Float[Array, "..."]:
    """`power_of_two` of what is not `ordinary`, 1 of what is."""
    least = 2.0 ** -ordinary(size.dtype)
    return jnp.where((size >= least) & (size <= 1 / least), 1, power_of_two(size)).astype(size.dtype)


def magnified(size: Float[Array, "..."]) -> Float[Array, "..."]:
    """`normalised` of what is too small, 1 of what is too large."""
    return jnp.maximum(normalised(size), 1)


def column_norms(matrix: Float[Array, "n p"]) -> Float[Array, " p"]:
    """Euclidean norms, also of columns whose squares are not within range; without derivative."""
    matrix = lax.stop_gradient(matrix)
    scale = normalised(jnp.max(jnp.abs(matrix), axis=0, initial=0))
    return jnp.linalg.norm(matrix * scale, axis=0) / scale


class Units(NamedTuple):
    """In what units each curve is fitted."""

    weight: Float[Array, " curves"]  # its greatest weight
    loss: Float[Array, " curves"]  # what its losses are multiplied by: 1, or a power of two


def loss_scale(largest, smallest, plateau: float) -> Float[Array, " curves"]:
    """What curves' losses are multiplied by: 1 where their squares are within range.

    Args:
        largest, smallest: (curves,) measured losses.
        plateau: an absolute bound that is in the same unit.
    """
    return normalised(jnp.maximum(jnp.maximum(jnp.abs(largest), jnp.abs(smallest)), abs(plateau)))


def sizes_of(family: Family, theta, window, scale) -> dict[str, Float[Array, " curves"]]:
    """By what the named parameters of curves that were multiplied by ``scale`` must be multiplied: 1 or 1 / scale."""
    one = jnp.ones_like(scale)
    before, after = (family.named(unit, unit, theta, window) for unit in (one, one / scale))
    return {name: jnp.where(scale == 1, 1, after[name] / before[name]) for name in family.names}
