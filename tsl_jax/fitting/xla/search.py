"""Where fits start: the best templates of a grid, found by one matrix product."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...curves import Family
from .projection import CurveBlock, positive

#: The grid is cut into this many runs of neighbouring templates; the best of each is a possible start, which keeps
#: the starts of one curve apart.
NUM_RUNS = 16
#: A template gains nothing where its variance under a curve's weights is no more than this: a difference of sums, of
#: which little is left. For the native kernel it is flat while it stays this close to its first or last value.
LEAST_VARIANCE, FLAT = 1e-6, 1e-6


def ranked_starts(
    family: Family, block: CurveBlock, number: int
) -> tuple[Float[Array, "starts theta curves"], Float[Array, "starts curves"]]:
    """The best templates of every curve, best first and each from another run, and how much they lower the rss."""
    grid = family.grid(block.x).astype(block.x.dtype)
    f = family.shape(block.x, grid.T[:, :, None])
    uneven = jnp.any(block.weight != block.weight[:1], axis=0)
    even = _best(_reduction_even(f, block))

    def some_uneven():
        weighted = _best(_reduction_weighted(f, block))
        return tuple(jnp.where(uneven, w, e) for w, e in zip(weighted, even, strict=True))

    reduction, index = lax.cond(jnp.any(uneven), some_uneven, lambda: even)
    reduction, order = lax.top_k(reduction.T, min(number, len(reduction)))
    index = jnp.take_along_axis(index, order.T, axis=0)
    return jnp.moveaxis(grid[index], -1, 1), reduction.T


def _best(reductions: tuple[Float[Array, "templates curves"], Float[Array, " curves"]]):
    """`_best_of_runs` of reductions beyond the best constant that is within bounds, as reductions beyond the mean."""
    reduction, index = _best_of_runs(reductions[0])
    return reduction - reductions[1], index


def _best_of_runs(reduction: Float[Array, "templates curves"]):
    """Largest reduction of the rss in each of `NUM_RUNS` runs of the grid and its index.

    The place in the run replaces the last bits of the number, so that one maximum finds both: on a CPU many times
    faster than argmax. Reductions closer than that (2^-15 for 64 checkpoints) are equally good starts.
    """
    length = -(-len(reduction) // NUM_RUNS)
    kind = jnp.int64 if reduction.dtype == jnp.float64 else jnp.int32
    low_bits = (1 << (length - 1).bit_length()) - 1
    bits = lax.bitcast_convert_type(jnp.maximum(reduction, jnp.finfo(reduction.dtype).tiny), kind)
    place = jnp.arange(len(reduction), dtype=kind)[:, None] % length
    packed = lax.bitcast_convert_type((bits & ~low_bits) | place, reduction.dtype)
    runs = -(-len(reduction) // length)
    packed = jnp.pad(packed, ((0, runs * length - len(reduction)), (0, 0)))
    best = jnp.max(packed.reshape(runs, length, -1), axis=1)
    return best, length * jnp.arange(runs)[:, None] + (lax.bitcast_convert_type(best, kind) & low_bits)


def _reduction_even(f: Float[Array, "templates checkpoints"], block: CurveBlock):
    """`_reduction` where all checkpoints of a curve weigh the same: one matrix product."""
    mean = jnp.mean(block.loss, axis=0)
    template_mean = jnp.mean(f, axis=1, keepdims=True)
    centred = f - template_mean
    tss = jnp.sum(jnp.square(centred), axis=1, keepdims=True)
    along = centred @ (block.loss - mean)
    return _reduction(along, tss, template_mean, len(block.x), mean - block.least, block.most - mean)


def _reduction_weighted(f: Float[Array, "templates checkpoints"], block: CurveBlock):
    """`_reduction` for any weights: templates have other means for every curve, three matrix products."""
    total = positive(jnp.sum(block.weight, axis=0), 0)
    mean = jnp.sum(block.weight * block.loss, axis=0) / total
    plain = jnp.mean(f, axis=1, keepdims=True)
    centred = f - plain  # at the plain mean first, so that little cancels below
    shift = centred @ block.weight / total
    tss = jnp.square(centred) @ block.weight - total * shift * shift
    along = centred @ (block.weight * (block.loss - mean))
    return _reduction(along, tss, plain + shift, total, mean - block.least, block.most - mean)


def _reduction(along, tss, template_mean, total, down, up):
    """How much a template with the best plateaus within their bounds lowers the rss of the best constant within them,
    and by how much (curves) that is above the rss of the mean.

    Args:
        along: ``Σ w (f - f̄)(y - ȳ)``. tss: ``Σ w (f - f̄)²``. template_mean: ``f̄``. total: ``Σ w``.
        down, up: distances from ``ȳ`` to the lower and upper bound of the plateaus.

    Inside the bounds the best amplitude is ``along / tss``. Where a plateau is beyond them it goes to its bound, the
    other one follows, and then goes to its own bound if it must: of both the one goes first that so costs less.
    """
    varies = tss > total * LEAST_VARIANCE
    amplitude = jnp.where(varies, along / jnp.where(varies, tss, 1), 0)
    low, high = -amplitude * template_mean, amplitude * (1 - template_mean)
    between = total * template_mean * (1 - template_mean) - tss

    def cost(first, second, part):
        square = positive(tss + total * part * part, total)
        moved = jnp.clip(first, -down, up) - first
        second = second - moved * between / square
        return total * tss / square * jnp.square(moved) + square * jnp.square(second - jnp.clip(second, -down, up))

    least = jnp.minimum(cost(low, high, template_mean), cost(high, low, 1 - template_mean))
    # Of the mean, or where it is out of bounds of the nearest constant inside: reductions are positive then.
    outside = total * jnp.square(jnp.clip(0, -down, up))
    return along * amplitude + outside - least, outside
