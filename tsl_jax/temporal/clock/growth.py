"""The growth exponent of the logit spread."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ...jax_switches import with_own_switches
from ...pytrees import pytree
from ..laws.residuals import autocorrelation, independent_rows
from .slow_noise import row_noise


@pytree
class Growth:
    """``spread = coefficient · a^exponent``.

    Attributes:
        coefficient: the spread at 1 of the axis.
        exponent: how fast it grows.
        exponent_stderr: standard error, widened for residuals correlated from row to row.
        exponent_lower: lower end of its 95% interval, which allows for slow wander under white noise too.
        exponent_upper: upper end.
        num_points: rows.

    Example:
        >>> growth = growth_exponent(np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.1, 4.0]))
        >>> f"{growth.exponent:.2f} +- {growth.exponent_stderr:.2f}"
        '0.30 +- 0.01'
    """

    coefficient: Float[Array, "*batch"]
    exponent: Float[Array, "*batch"]
    exponent_stderr: Float[Array, "*batch"]
    exponent_lower: Float[Array, "*batch"]
    exponent_upper: Float[Array, "*batch"]
    num_points: Int[Array, "*batch"]


@with_own_switches
def growth_exponent(axis: Float[Array | np.ndarray, " rows"], spread: Float[Array | np.ndarray, " rows"]) -> Growth:
    """The exponent with which the spread of the logits (or anything positive) grows: a line through logarithms.

    Args:
        axis: (rows,) dynamic time or steps, positive.
        spread: (rows,) standard deviation of the logits at each row, positive.

    Returns:
        `Growth`.

    Raises:
        ValueError: shapes that disagree, fewer than 3 rows, or values that are not positive and finite.

    Example:
        >>> import jax.numpy as jnp
        >>> tau = jnp.geomspace(0.1, 10.0, 30)
        >>> round(float(growth_exponent(tau, 2.0 * tau**0.25).exponent), 3)
        0.25

    Source: arXiv 2602.03685, whose theory gives 1/3 for the logits and with them for the loss.
    """
    if np.ndim(axis) != 1 or np.shape(axis) != np.shape(spread) or len(axis) < 3:
        raise ValueError(
            f"axis, spread: got shapes {np.shape(axis)} and {np.shape(spread)}, expected (rows,), at least 3"
        )
    for name, values in (("axis", axis), ("spread", spread)):
        if not isinstance(values, Tracer) and not np.all(np.isfinite(values) & (np.asarray(values) > 0)):
            raise ValueError(f"{name}: expected positive finite values; leave out the rows without a measurement")
    x, y = jnp.log(jnp.asarray(axis)), jnp.log(jnp.asarray(spread))
    centred, n = x - jnp.mean(x), len(x)
    exponent = jnp.sum(centred * y) / jnp.sum(centred**2)
    left = y - jnp.mean(y) - exponent * centred
    size = jnp.sqrt(jnp.sum(centred**2))
    columns = jnp.stack([jnp.full(n, n**-0.5, x.dtype), centred / size], axis=1)
    degrees = jnp.maximum(independent_rows(n, autocorrelation(left, jnp.ones(n, bool))) - 2, 1.0)
    stderr = jnp.sqrt(jnp.sum(left**2) / degrees) / size
    half = row_noise(columns, left, columns[:, 1:], jnp.ones(n, bool)).half_width(0.95, 0) / size
    coefficient = jnp.exp(jnp.mean(y) - exponent * jnp.mean(x))
    return Growth(coefficient, exponent, stderr, exponent - half, exponent + half, jnp.asarray(n, jnp.int32))
