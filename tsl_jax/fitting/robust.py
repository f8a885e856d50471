"""Robust fits: Huber's M-estimator by iterative re-weighting."""

import jax
import jax.numpy as jnp
from jax import lax

from ..curves import Family
from .measures import residuals
from .options import FitOptions
from .solution import Solution, solve
from .xla.projection import CurveBlock

#: Re-weighted fits after the first; each shrinks the distance to the fixed point several times.
ROUNDS = 6


def solve_robust(
    family: Family, options: FitOptions, threshold: float, block: CurveBlock
) -> tuple[Solution, jax.Array]:
    """Curves that minimise Huber's loss of the residuals, and the noise scale (curves) of each.

    The first weights come from deviations from a running median, so that no spike looks like an event; then each fit
    gives the weights of the next. Derivatives go through the last fit, with its weights held.
    """
    spikes = block.loss - _running_median(block)
    reweighted, _ = huber_weights(threshold, block, spikes, noise_scale(block, spikes, 0))

    def again(_, reweighted):
        solution = solve(family, options, reweighted)
        r = residuals(family, block, solution.coefficients)
        return huber_weights(threshold, block, r, noise_scale(block, r, len(family.names)))[0]

    weight = lax.stop_gradient(lax.fori_loop(0, ROUNDS, again, lax.stop_gradient(reweighted)).weight)
    solution = solve(family, options, block._replace(weight=weight))
    r = residuals(family, block, solution.coefficients)
    return solution, lax.stop_gradient(noise_scale(block, r, len(family.names)))


def huber_weights(threshold: float, block: CurveBlock, r, noise):
    """The block with Huber's weights ``min(1, k·noise / |r|)``, and the factor by which they inflate variances.

    The noise is at least that of `rounding`: of losses of which more than half are the same the median says nothing.
    The factor is Huber's (Robust Statistics, 1981, section 7.6, with his K left at 1), for variances that are computed
    from the re-weighted rss and Jacobian: ``Σ w ψ² / Σ w_h r² · mean(w_h / w) / s²``, with s the fraction of points
    within the threshold and ``ψ = (w_h / w) r``.
    """
    limit = threshold * jnp.maximum(noise / jnp.sqrt(jnp.maximum(block.weight, 1e-30)), rounding(block))
    size = jnp.maximum(jnp.abs(r), 1e-30)
    shrink = jnp.where(block.weight > 0, jnp.minimum(1, limit / size), 0)
    measured = block.weight > 0
    inside = jnp.sum(measured & (size <= limit), axis=0) / jnp.maximum(jnp.sum(measured, axis=0), 1)
    psi = jnp.sum(block.weight * jnp.square(shrink * r), axis=0)
    rss = jnp.sum(block.weight * shrink * jnp.square(r), axis=0)
    mean_shrink = jnp.sum(jnp.where(measured, shrink, 0), axis=0) / jnp.maximum(jnp.sum(measured, axis=0), 1)
    inflation = psi / jnp.maximum(rss, 1e-30) * mean_shrink / jnp.square(jnp.maximum(inside, 0.1))
    return block._replace(weight=block.weight * shrink), lax.stop_gradient(inflation)


def rounding(block: CurveBlock):
    """Half the least step between two losses of a curve, which is what they are known to where they were rounded; and
    at least the rounding of the largest."""
    values = jnp.sort(jnp.where(block.weight > 0, block.loss, jnp.nan), axis=0)  # NaN sorts last
    steps = jnp.diff(values, axis=0)
    least = jnp.min(jnp.where(steps > 0, steps, jnp.inf), axis=0)
    largest = jnp.max(jnp.where(block.weight > 0, jnp.abs(block.loss), 0), axis=0)
    floor = jnp.finfo(block.loss.dtype).eps * jnp.maximum(largest, 1e-30)
    return lax.stop_gradient(jnp.maximum(jnp.where(jnp.isfinite(least), least / 2, 0), floor))


def noise_scale(block: CurveBlock, r, used: int):
    """1.4826 times the median of ``sqrt(w)·|r|`` over measured points, corrected for `used` parameters."""
    measured = block.weight > 0
    number = jnp.sum(measured, axis=0)
    size = jnp.sort(jnp.where(measured, jnp.sqrt(block.weight) * jnp.abs(r), jnp.inf), axis=0)
    middle = jnp.take_along_axis(size, jnp.maximum((number - 1) // 2, 0)[None], axis=0)[0]
    middle = jnp.where(number > 0, middle, 0)
    return 1.4826 * middle * jnp.sqrt(number / jnp.maximum(number - used, 1))


def _running_median(block: CurveBlock):
    """Median of the five neighbouring checkpoints, over measured ones."""
    values = jnp.where(block.weight > 0, block.loss, jnp.nan)
    padded = jnp.pad(values, ((2, 2), (0, 0)), constant_values=jnp.nan)
    count = len(values)
    stacked = jnp.sort(jnp.stack([padded[i : i + count] for i in range(5)]), axis=0)  # NaN sorts last
    present = jnp.sum(~jnp.isnan(stacked), axis=0)
    middle = jnp.take_along_axis(stacked, jnp.maximum(present - 1, 0)[None] // 2, axis=0)[0]
    return jnp.where(present > 0, middle, 0)
