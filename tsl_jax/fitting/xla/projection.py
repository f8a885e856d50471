"""Variable projection: the plateaus in closed form, theta's normal equations with the plateaus eliminated.

Curves are written as ``low·(1 - f) + high·f`` with ``f = shape(x, theta)``, so that ``offset = low`` and
``amplitude = high - low`` and the bounds of both plateaus are a box. All functions work on blocks laid out
checkpoint-major, (checkpoints, curves): reductions run over the first axis and every curve is one vector lane.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...curves import Family

Curves = Float[Array, " curves"]


class CurveBlock(NamedTuple):
    """A block of curves ready to fit; missing points have ``loss = 0, weight = 0``."""

    x: Float[Array, " checkpoints"]
    loss: Float[Array, "checkpoints curves"]
    weight: Float[Array, "checkpoints curves"]
    least: Curves  # bounds of the plateaus
    most: Curves


class Rooted(NamedTuple):
    """A block's columns times the square roots of the weights, so that all weighted sums are plain ones."""

    x: Float[Array, " checkpoints"]
    loss: Float[Array, "checkpoints curves"]
    root: Float[Array, "checkpoints curves"]
    least: Curves
    most: Curves


class Point(NamedTuple):
    """Theta with its best plateaus, and the normal equations there."""

    theta: Float[Array, "theta curves"]
    anchor: Curves  # for the family's `move` from theta
    low: Curves
    high: Curves
    rss: Curves
    normal: Float[Array, "theta theta curves"]  # Schur complement of the plateaus in J^T W J
    negative_half_gradient: Float[Array, "theta curves"]  # of the rss: J^T W r


def rooted(block: CurveBlock) -> Rooted:
    """The block as `project` takes it."""
    root = jnp.sqrt(block.weight)
    return Rooted(block.x, root * block.loss, root, block.least, block.most)


def unit_vectors(theta):
    """The directions of theta's components, each like theta."""
    return [jnp.zeros_like(theta).at[k].set(1) for k in range(len(theta))]


def shape_and_slopes(family: Family, x, theta, directions):
    """``shape(x, theta)``, its complement and its slopes along directions of theta, all (checkpoints, curves)."""

    def shape(theta):
        return family.shape(x[:, None], theta[:, None])

    slopes = [jax.jvp(shape, (theta,), (direction,))[1] for direction in directions]
    return shape(theta), family.complement(x[:, None], theta[:, None]), slopes


def project(family: Family, block: Rooted, theta, low, high) -> Point:
    """One pass over the data: best plateaus for ``theta`` within their bounds, rss and normal equations.

    The plateaus are solved for as a correction to the given ones (those of the step before), and all that follows is
    summed over residuals and projected slopes themselves, never as a difference of large sums: float32 then resolves
    residuals down to the losses' own rounding, and curves whose slopes are nearly parallel to the plateaus (events
    outside the window) still move.
    """

    anchor = family.anchor(block.x, theta)
    # Where theta goes when a step begins. The shape itself is taken at theta, so that one exponential does for all.
    stay = jnp.zeros_like(theta)
    moves = [jax.jvp(lambda s: family.move(anchor, theta, s), (stay,), (unit,))[1] for unit in unit_vectors(theta)]
    f, e, slopes = shape_and_slopes(family, block.x, theta, moves)
    e, f = block.root * e, block.root * f
    slopes = [block.root * g for g in slopes]
    products, (d_low, d_high, *active) = best_plateaus(block, e, f, low, high)
    active_low, active_high = active
    low, high = (
        jnp.where(active, jnp.where(p - block.least < block.most - p, block.least, block.most), p)
        for active, p in ((active_low, low + d_low), (active_high, high + d_high))
    )
    r = block.loss - (low * e + high * f)

    project_out = without_plateaus(products, active, e, f)
    projected = [project_out(g) for g in slopes]
    drop = high - low
    size = len(projected)
    squares = {(i, j): drop * drop * dot(projected[i], projected[j]) for i in range(size) for j in range(i, size)}
    normal = [jnp.stack([squares[min(i, j), max(i, j)] for j in range(size)]) for i in range(size)]
    negative_half_gradient = [drop * dot(g, r) for g in projected]
    return Point(theta, anchor, low, high, dot(r, r), jnp.stack(normal), jnp.stack(negative_half_gradient))


def dot(a, b):
    """Sums over checkpoints, (curves,)."""
    return jnp.sum(a * b, axis=0)


def best_plateaus(block: Rooted, e, f, low, high):
    """The step (d_low, d_high, active_low, active_high) to the best plateaus in their bounds, `box_step`.

    Args:
        e, f: (checkpoints, curves) complement and shape, times the roots of the weights.
        low, high: (curves,) plateaus to start from.

    Returns:
        (a00, a01, a11), products of e and f, and the step.
    """
    r = block.loss - (low * e + high * f)
    products = dot(e, e), dot(e, f), dot(f, f)
    least, most = ((bound - low, bound - high) for bound in (block.least, block.most))
    return products, box_step(products, (dot(e, r), dot(f, r)), least, most)


def without_plateaus(products, active, e, f):
    """What takes their part out of slopes: plateaus that are not on a bound follow theta.

    Args:
        products: (a00, a01, a11) of `best_plateaus`. active: which of the two are on a bound.
        e, f: (checkpoints, curves) as there.
    """
    a00, a01, a11 = products
    active_low, active_high = active
    a01 = jnp.where(active_low | active_high, 0, a01)
    a00, a11 = jnp.where(active_low, 1, a00), jnp.where(active_high, 1, a11)
    det = positive(a00 * a11 - a01 * a01, a00 * a11)

    def project_out(g):
        c0, c1 = jnp.where(active_low, 0, dot(e, g)), jnp.where(active_high, 0, dot(f, g))
        return g - ((a11 * c0 - a01 * c1) / det * e + (a00 * c1 - a01 * c0) / det * f)

    return project_out


def box_step(matrix, vector, least, most):
    """Minimise ``d^T A d - 2 b^T d`` over a box, d of two components, in closed form.

    Args:
        matrix: (a00, a01, a11), positive semi-definite. vector: (b0, b1).
        least, most: finite bounds of d, two arrays each.

    Returns:
        d0, d1, and for both whether they ended on a bound.
    """
    a00, a01, a11 = matrix
    b0, b1 = vector
    det = positive(a00 * a11 - a01 * a01, a00 * a11)
    inner = ((a11 * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det)

    def inside(d, axis):
        return (d[axis] >= least[axis]) & (d[axis] <= most[axis])

    def value(d):
        return d[0] * (a00 * d[0] + 2 * (a01 * d[1] - b0)) + d[1] * (a11 * d[1] - 2 * b1)

    # The function is convex: if its minimum is outside, the best point of the box is on one of the four edges.
    best, best_value = inner, jnp.where(inside(inner, 0) & inside(inner, 1), value(inner), jnp.inf)
    for axis, fixed in ((0, least[0]), (0, most[0]), (1, least[1]), (1, most[1])):
        own, diagonal = (b1, a11) if axis == 0 else (b0, a00)
        free = jnp.clip((own - a01 * fixed) / positive(diagonal, diagonal), least[1 - axis], most[1 - axis])
        edge = (fixed, free) if axis == 0 else (free, fixed)
        edge_value = value(edge)
        better = edge_value < best_value
        best = (jnp.where(better, edge[0], best[0]), jnp.where(better, edge[1], best[1]))
        best_value = jnp.where(better, edge_value, best_value)
    active = [(best[i] <= least[i]) | (best[i] >= most[i]) for i in (0, 1)]
    return *best, *active


def positive(value, scale):
    """``value`` kept away from zero, relative to ``scale``, so that it can be divided by."""
    info = jnp.finfo(value.dtype)
    return jnp.maximum(value, info.eps * scale + info.tiny)
