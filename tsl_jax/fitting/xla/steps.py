"""The steps of Levenberg-Marquardt: one for every curve of a tile, within the bounds of theta, and when they end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...curves import Family
from ..options import FitOptions
from .projection import CurveBlock, Point, Rooted, project

#: Damping relative to the diagonal: at the start, its change after a success and a failure (which takes it for at least
#: `FAILED_DAMPING`), where a curve that still fails is as good as its floating-point numbers allow.
FIRST_DAMPING, FAILED_DAMPING, EASE, TIGHTEN, LAST_DAMPING = 1e-2, 1e-2, 0.1, 10.0, 1e4
#: No step is longer than this fraction of theta's range.
LONGEST_STEP = 0.25
#: Units of rounding by which losses and curves may be off: no fit can be told from a better one below that.
ROUNDING = 2.0


class State(NamedTuple):
    """A block during the iteration; curves that are done change no more."""

    point: Point
    step: Float[Array, "theta curves"]  # the next one
    damping: Float[Array, " curves"]
    steps: Int[Array, " curves"]
    done: Bool[Array, " curves"]


class Limits(NamedTuple):
    """What ends an iteration: bounds of theta (theta, 1), relative and absolute decrease of rss."""

    lower: Float[Array, "theta 1"]
    upper: Float[Array, "theta 1"]
    tolerance: float
    floor: Float[Array, " curves"]


def tolerance(options: FitOptions, eps: float) -> float:
    """Relative decrease of rss that ends an iteration, for floating-point numbers of this resolution."""
    return options.tolerance or (1e-6 if eps > 1e-10 else 1e-12)


def rounding(eps: float) -> float:
    """The fraction of the sum of squares of the losses that rounding leaves as rss."""
    return (ROUNDING * eps) ** 2


def make_limits(family: Family, options: FitOptions, block: CurveBlock) -> Limits:
    """Bounds and convergence thresholds for a block."""
    # Where JAX has float64 on, a family may give it whatever x is.
    lower, upper = (bound.astype(block.x.dtype) for bound in family.bounds(block.x))
    eps = float(jnp.finfo(block.loss.dtype).eps)
    floor = jnp.sum(block.weight * jnp.square(block.loss), axis=0) * rounding(eps)
    return Limits(lower[:, None], upper[:, None], tolerance(options, eps), floor)


def start(block: CurveBlock, theta) -> State:
    """A state whose first step evaluates ``theta``."""
    zero = jnp.zeros_like(theta[0])
    mean = jnp.sum(block.weight * block.loss, axis=0) / jnp.maximum(jnp.sum(block.weight, axis=0), 1e-30)
    normal = jnp.zeros_like(theta)[:, None] + jnp.zeros_like(theta)[None]
    point = Point(theta, zero, mean, mean, zero + jnp.inf, normal, jnp.zeros_like(theta))
    return State(point, jnp.zeros_like(theta), zero + FIRST_DAMPING, zero.astype(jnp.int32), zero > 0)


def advance(family: Family, block: Rooted, state: State, limits: Limits) -> State:
    """One step for every curve that is not done: where it leads, whether that is the end, and the next step."""
    point = state.point
    theta = jnp.clip(family.move(point.anchor, point.theta, state.step), limits.lower, limits.upper)
    trial = project(family, block, theta, point.low, point.high)
    evaluated = point.rss < jnp.inf
    better = trial.rss < point.rss
    creeping = evaluated & better & (point.rss - trial.rss <= limits.tolerance * point.rss)
    exhausted = ~better & (state.damping > LAST_DAMPING)
    damping = jnp.where(better, state.damping * EASE, jnp.maximum(state.damping, FAILED_DAMPING) * TIGHTEN)
    damping = jnp.where(evaluated, damping, FIRST_DAMPING)
    point = select(better, trial, point)
    active = on_bound(point, limits)
    # The undamped step, which tells how much is left to win, and the damped one, by one elimination.
    both = jnp.stack([jnp.zeros_like(damping), damping])
    newton, step = jnp.moveaxis(damped_step(point.normal, point.negative_half_gradient, both, active), 1, 0)
    predicted = jnp.sum(jnp.where(active, 0, point.negative_half_gradient) * newton, axis=0)
    converged = (point.rss < jnp.inf) & (predicted <= limits.tolerance * point.rss + limits.floor)
    step = within_room(point, step, damping, limits)
    moved = State(point, step, damping, state.steps + 1, converged | creeping | exhausted)
    return select(state.done, state, moved)


def on_bound(point: Point, limits: Limits) -> Bool[Array, "theta curves"]:
    """Components of theta on a bound beyond which rss would fall."""
    return ((point.theta <= limits.lower) & (point.negative_half_gradient <= 0)) | (
        (point.theta >= limits.upper) & (point.negative_half_gradient >= 0)
    )


def damped_step(normal, negative_half_gradient, damping, active):
    """Solve ``(H + damping·diag H) step = -gradient / 2`` for the free components, by elimination, a curve a lane.

    Args:
        normal: (theta, theta, curves) H. negative_half_gradient: (theta, curves).
        active: (theta, curves), components on a bound, which stay.
        damping: (\\*dampings, curves).

    Returns:
        (theta, \\*dampings, curves) steps.
    """
    size = len(negative_half_gradient)
    info = jnp.finfo(negative_half_gradient.dtype)
    h = [[jnp.where(active[i] | active[j], 0, normal[i, j]) for j in range(size)] for i in range(size)]
    rhs = [jnp.where(active[i], 0, negative_half_gradient[i]) for i in range(size)]
    smallest = [info.eps * normal[i, i] + info.tiny for i in range(size)]
    for i in range(size):
        h[i][i] = jnp.where(active[i], 1, h[i][i] * (1 + damping) + info.tiny)
    for i in range(size):
        h[i][i] = jnp.maximum(h[i][i], smallest[i])
        for j in range(i + 1, size):
            factor = h[j][i] / h[i][i]
            rhs[j] = rhs[j] - factor * rhs[i]
            for k in range(i + 1, size):
                h[j][k] = h[j][k] - factor * h[i][k]
    step = []
    for i in reversed(range(size)):
        known = sum((h[i][size - 1 - m] * s for m, s in enumerate(step)), jnp.zeros_like(damping))
        step.append((rhs[i] - known) / h[i][i])
    return jnp.stack(step[::-1])


def within_room(point: Point, step, damping, limits: Limits) -> Float[Array, "theta curves"]:
    """The step cut to its greatest length and to the bounds; components that are not cut follow the ones that are."""
    longest = LONGEST_STEP * (limits.upper - limits.lower)
    least, most = (
        jnp.maximum(limits.lower - point.theta, -longest),
        jnp.minimum(limits.upper - point.theta, longest),
    )
    short = jnp.clip(step, least, most)
    cut = short != step
    if len(step) == 1:
        return short
    diagonal = jnp.stack([point.normal[i, i] for i in range(len(step))])
    coupled = jnp.sum(point.normal * short[None], axis=1) - diagonal * short
    tiny = jnp.finfo(step.dtype).tiny
    follow = jnp.clip(
        (point.negative_half_gradient - coupled) / jnp.maximum(diagonal * (1 + damping), tiny), least, most
    )
    return jnp.where(cut | ~jnp.any(cut, axis=0) | (step == 0), short, follow)


def select(where, left, right):
    """``left`` where true, ``right`` elsewhere, for trees of arrays whose last axis is curves."""
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), left, right)
