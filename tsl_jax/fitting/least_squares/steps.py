"""The loop of `least_squares`: Levenberg-Marquardt on a dense Jacobian, one problem (batched by `vmap`).

The damping is found from a trust region, as in MINPACK (J. J. Moré, The Levenberg-Marquardt algorithm:
implementation and theory, Lecture Notes in Mathematics 630, 1978): the step is the best one of the linear
model within an ellipsoid whose axes go by the largest column norms of the Jacobian seen so far. No normal
equations are formed: QR reduces ``[J | r]`` to a triangle of the size of the parameters, and the singular
values of that triangle give the step for any damping.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...linalg.small import eliminate, jacobi_svd, square_within
from ..scaling import column_norms, magnified

#: A step is taken when it wins at least this fraction of what the linear model predicted (Moré 1978).
_LEAST_RATIO = 1e-4
#: Newton steps for the damping; its start is within a factor √p of the answer, so four leave it at a percent.
_DAMPING_STEPS = 4


class Iterate(NamedTuple):
    """Where the search stands: all that later steps need, none of it as long as the residual.

    All of the residual and its derivatives is in units of ``1 / SearchState.scale``.
    """

    params: Float[Array, " p"]
    rss: Float[Array, ""]
    #: Triangle ``R`` of the QR of J, and ``z = Q'r``: the gradient is ``J'r = R'z``.
    factor: Float[Array, "p p"]
    z: Float[Array, " p"]
    #: Euclidean norms of the columns of J.
    norms: Float[Array, " p"]
    #: On a bound, with the gradient pushing outwards.
    active: Bool[Array, " p"]
    #: What an undamped (Gauss-Newton) step in the free parameters would lower the rss by, were r linear.
    predicted_reduction: Float[Array, ""]
    finite: Bool[Array, ""]

    @property
    def free(self) -> Bool[Array, " p"]:
        """Parameters that a step may move: not on a bound and not without effect on the residual."""
        return ~self.active & (self.norms > 0)


class SearchState(NamedTuple):
    point: Iterate
    #: Largest norms of the columns of J so far: the axes of the trust region.
    norms: Float[Array, " p"]
    radius: Float[Array, ""]
    #: Steps tried; -1 before the start is evaluated.
    steps: Int[Array, ""]
    #: No step that the number format can resolve lowers the rss.
    stalled: Bool[Array, ""]
    #: What residuals are multiplied by: 1, or a power of two where their squares would vanish; 0 before the start.
    scale: Float[Array, ""]


def blank_state(start) -> SearchState:
    """The state before the start is evaluated."""
    p, dtype = start.shape[0], start.dtype
    zero, zeros, no = jnp.zeros((), dtype), jnp.zeros(p, dtype), jnp.asarray(False)
    point = Iterate(start, zero, jnp.zeros((p, p), dtype), zeros, zeros, jnp.zeros(p, bool), zero, no)
    return SearchState(point, zeros, jnp.ones((), dtype), jnp.asarray(-1, jnp.int32), no, zero)


def linearise(residual: Callable, params) -> tuple[Float[Array, " m"], Float[Array, "m p"]]:
    """Residual and its Jacobian, in forward mode."""
    values, push = jax.linearize(residual, params)
    return values, jax.vmap(push, out_axes=1)(jnp.eye(params.shape[0], dtype=params.dtype))


def evaluate(residual: Callable, params, lower, upper, scale) -> tuple[Iterate, Float[Array, ""]]:
    """Residual and Jacobian at ``params``, reduced to their triangle, and their scale, their own where it is 0."""
    values, jacobian = linearise(residual, params)
    scale = jnp.where(scale > 0, scale, magnified(jnp.max(jnp.abs(values), initial=0)))
    values, jacobian = scale * values, scale * jacobian
    factor, along, _ = eliminate(jacobian, values[:, None])
    rss = jnp.sum(values**2)
    finite = jnp.isfinite(rss) & jnp.all(jnp.isfinite(factor)) & jnp.all(jnp.isfinite(along))
    factor, z = jnp.where(finite, factor, 0.0), jnp.where(finite, along[:, 0], 0.0)
    norms, gradient = column_norms(factor), factor.T @ z
    active = ((params <= lower) & (gradient > 0)) | ((params >= upper) & (gradient < 0))
    unit_columns = factor / jnp.where(norms > 0, norms, 1.0)[None, :]
    predicted_reduction = square_within(jnp.where(active[None, :], 0.0, unit_columns), z)
    return Iterate(params, rss, factor, z, norms, active, predicted_reduction, finite), scale


def rescaled(point: Iterate, by) -> Iterate:
    """The point in units of the residual that are smaller by a power of two."""
    return point._replace(
        rss=by * by * point.rss,
        factor=by * point.factor,
        z=by * point.z,
        norms=by * point.norms,
        predicted_reduction=by * by * point.predicted_reduction,
    )


def rounding(point: Iterate) -> Float[Array, ""]:
    """By how much rounding alone moves ``|r|``: its own and, through the Jacobian, that of ``params``."""
    eps = jnp.finfo(point.rss.dtype).eps
    return eps * (jnp.sqrt(point.rss) + jnp.sum(point.norms * jnp.abs(point.params)))


def converged(point: Iterate, tolerance) -> Bool[Array, ""]:
    """Whether the undamped step is predicted to win less than ``tolerance`` of the rss, or less than can be resolved.

    Damping has no part in it (relative offset of D. M. Bates and D. G. Watts, Technometrics 23, 1981), so
    short steps in a flat valley do not end the search.
    """
    return (point.predicted_reduction <= tolerance * point.rss) | (point.predicted_reduction <= rounding(point) ** 2)


def trust_step(point: Iterate, scale, radius) -> tuple[Float[Array, " p"], Bool[Array, ""]]:
    """Step that minimises ``|R·dx + z|`` under ``|scale·dx| <= radius``, and whether that limits it.

    With ``R/scale = U·S·V'``, ``c = U'z`` it is ``-V·S·c/(S² + λ)/scale``; λ by Newton's method on 1/length.
    """
    scaled = jnp.where(point.free[None, :], point.factor / scale[None, :], 0.0)
    directions, sizes, axes = jacobi_svd(scaled)
    largest = jnp.max(sizes)
    c = directions.T @ point.z
    # In units of the largest singular value and of |c|: no powers overflow, whatever the residual's units.
    size, length = jnp.where(largest > 0, largest, 1.0), jnp.linalg.norm(c)
    length = jnp.where(length > 0, length, 1.0)
    tiny = jnp.finfo(sizes.dtype).tiny
    has_effect = sizes > jnp.sqrt(tiny) * size
    s, c = jnp.where(has_effect, sizes / size, 1.0), jnp.where(has_effect, c / length, 0.0)
    limit = jnp.maximum(radius * size / length, tiny)
    # Each component alone is within the limit: a lower bound of λ, from where Newton's method only rises.
    start = jnp.maximum(0.0, jnp.max(s * jnp.abs(c) / limit - s**2))

    def newton(_, damping):
        squares = (s * c / (s**2 + damping)) ** 2
        square, slope = jnp.sum(squares), jnp.sum(squares / (s**2 + damping))
        change = square / jnp.where(slope > 0, slope, 1.0) * (jnp.sqrt(square) / limit - 1)
        return jnp.maximum(damping + jnp.where(jnp.isfinite(change), change, 0.0), 0.0)

    damping = lax.fori_loop(0, _DAMPING_STEPS, newton, start)
    step = -(axes.T @ (s * c / (s**2 + damping))) * (length / size) / scale
    return jnp.where(point.free, step, 0.0), damping > 0


def stationary(point: Iterate) -> Bool[Array, ""]:
    """Whether a search that can go no further stands where the gradient vanishes, as far as can be resolved.

    The looser tests for a stalled search: little predicted, or (where J is singular, so that the undamped step
    is predicted to win what it does not) every free column of J at right angles to r.
    """
    eps = jnp.finfo(point.rss.dtype).eps
    cosines = jnp.abs(point.factor.T @ point.z) <= 4 * jnp.sqrt(eps * point.rss) * point.norms
    return (point.predicted_reduction <= jnp.sqrt(eps) * point.rss) | jnp.all(cosines | ~point.free)


def next_radius(radius, length, ratio, limited, point: Iterate, trial: Iterate, slope) -> Float[Array, ""]:
    """Moré's rule: twice the step where the model was good, shorter where it was bad, else unchanged."""
    # Minimum of the parabola through both sums of squares with the slope at the start of the step.
    parabola = 0.5 * slope / (slope + 0.5 * (point.rss - trial.rss))
    parabola = jnp.where(trial.rss < point.rss, 0.5, jnp.where(jnp.isfinite(parabola), parabola, 0.1))
    cut = jnp.where(trial.finite, jnp.clip(parabola, 0.1, 0.5), 0.1)
    grown = jnp.where(limited, jnp.maximum(radius, 2 * length), 2 * length)
    kept = jnp.where(ratio >= 0.75, grown, radius)
    return jnp.where(ratio > 0.25, kept, cut * jnp.minimum(radius, 10 * length))


def minimise(residual: Callable, start, lower, upper, ready, *, max_steps: int, tolerance, radius) -> SearchState:
    """Runs the loop from ``start`` (within the bounds), or not at all where ``ready`` is False."""
    eps = jnp.finfo(start.dtype).eps

    def running(state: SearchState):
        done = converged(state.point, tolerance) | state.stalled | ~state.point.finite
        return ready & ((state.steps < 0) | ~done) & (state.steps < max_steps)

    def body(state: SearchState) -> SearchState:
        point = state.point
        # The first pass evaluates the start: a copy of `evaluate` before the loop would be compiled, too.
        first = state.steps < 0
        scale = jnp.where(state.norms > 0, state.norms, 1.0)
        step, limited = trust_step(point, scale, state.radius)
        params = jnp.where(first, start, jnp.clip(point.params + step, lower, upper))
        step = params - point.params
        change = point.factor @ step
        slope = jnp.sum(change * point.z)
        predicted = -2 * slope - jnp.sum(change**2)
        trial, unit = evaluate(residual, params, lower, upper, state.scale)
        ratio = jnp.where(trial.finite & (predicted > 0), (point.rss - trial.rss) / predicted, -1.0)
        # Where the reduction drowns in the rounding of the rss, the one predicted of the undamped step decides.
        noise = 8 * jnp.sqrt(point.rss) * rounding(point)
        drowned = trial.finite & (predicted <= noise) & (trial.rss <= point.rss + noise)
        polished = drowned & (trial.predicted_reduction < 0.5 * point.predicted_reduction)
        accept = (ratio > _LEAST_RATIO) | polished | first
        length = jnp.linalg.norm(scale * step)
        lost = jnp.all(jnp.abs(step) <= eps * jnp.abs(point.params)) | ~jnp.isfinite(length)
        next_point = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial, point)
        norms = jnp.maximum(state.norms, next_point.norms)
        size = jnp.linalg.norm(norms * start)
        reach = next_radius(state.radius, length, ratio, limited, point, trial, slope)
        reach = jnp.where(polished, state.radius, reach)
        reach = jnp.where(first, jnp.where(size > 0, radius * size, radius), reach)
        more = magnified(jnp.sqrt(next_point.rss))  # residuals may end far below those of the start
        next_point = rescaled(next_point, more)
        return SearchState(next_point, more * norms, more * reach, state.steps + 1, ~accept & lost, more * unit)

    return lax.while_loop(running, body, blank_state(start))
