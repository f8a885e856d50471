"""Losses and weights as the kernels take them: checkpoint by checkpoint, in units that keep float32 in its range."""

import jax.numpy as jnp
from jax import lax

from ..curves import Family
from .codes import Status
from .options import FitOptions
from .scaling import Units, loss_scale
from .xla.projection import CurveBlock

#: Plateaus stay within this multiple of a curve's largest loss: of an event far outside the window only an exponential
#: tail is seen, whose plateau could be anything, up to values that float32 parameters cannot express.
PLATEAU_REACH = 1000.0


def prepare(family: Family, options: FitOptions, x, losses, weights):
    """A checkpoint-major block with gaps at weight 0, the units of each curve's weights and losses (so that no product
    leaves the range of float32), the number of points, and who cannot be fitted and why.

    All of it works along the rows as they come; each pass over their transpose would go through memory in strides.
    """
    dtype = x.dtype
    losses = losses.astype(dtype)
    weight = jnp.ones_like(losses) if weights is None else weights.astype(dtype)
    missing = jnp.isnan(losses) | jnp.isnan(weight) | (weight == 0)
    broken = jnp.any(~missing & (jnp.isinf(losses) | jnp.isinf(weight) | (weight < 0)), axis=1)
    measured = ~missing & ~broken[:, None]
    largest = jnp.max(jnp.where(measured, losses, -jnp.inf), axis=1)
    smallest = jnp.min(jnp.where(measured, losses, jnp.inf), axis=1)
    scale = loss_scale(largest, smallest, options.min_plateau or 0.0)
    loss, weight = jnp.where(measured, losses * scale[:, None], 0), jnp.where(measured, weight, 0)
    largest, smallest = largest * scale, smallest * scale
    num_points = jnp.sum(measured, axis=1, dtype=jnp.int32)
    unit = jnp.ones_like(weight[:, 0])
    if weights is not None:
        unit = lax.stop_gradient(jnp.max(weight, axis=1))
        unit = jnp.where(unit > 0, unit, 1)
        weight = weight / unit[:, None]

    first = jnp.take_along_axis(loss, jnp.argmax(measured, axis=1)[:, None], axis=1)[:, 0]
    status = jnp.where(largest - smallest <= 2 * jnp.finfo(dtype).eps * jnp.abs(largest), Status.FLAT, Status.CONVERGED)
    status = jnp.where(num_points < len(family.names) + 1, Status.TOO_FEW_POINTS, status)
    status = jnp.where(broken, Status.NON_FINITE, status)

    # Curves that cannot be fitted still occupy their lane: give them a weightless constant, which converges at once.
    usable = status == Status.CONVERGED
    reach = jnp.where(usable, PLATEAU_REACH * jnp.maximum(jnp.abs(largest), jnp.abs(smallest)), 1)
    least = -reach if options.min_plateau is None else options.min_plateau * scale
    most = reach if options.max_plateau_ratio is None else jnp.minimum(reach, options.max_plateau_ratio * first)
    most = jnp.maximum(most, least)
    return CurveBlock(x, loss.T, weight.T, least, most), Units(unit, scale), num_points, status
