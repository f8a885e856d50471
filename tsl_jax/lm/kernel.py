"""Levenberg-Marquardt on a block of curves: all in lockstep first, the stragglers and further starts packed after."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..curves import Family
from .options import FitOptions
from .projection import Block, Point, project
from .search import ranked_starts

#: Steps that all curves of a block take together, about the median number that curves need.
LOCKSTEP = 5
#: Steps between two packings of the curves that need more, and the share of a block that is packed together.
PACKED_STEPS, PACKED_SHARE = 8, 8
#: Damping relative to the diagonal: at the start, its change after a success and a failure, where a curve that still
#: fails is as good as its floating-point numbers allow.
FIRST_DAMPING, EASE, TIGHTEN, LAST_DAMPING = 1e-2, 0.1, 10.0, 1e4
#: Further starts are tried where a plateau has fewer than this many checkpoints, and where a start's template alone
#: leaves at most this multiple of the best rss.
BARELY_SEEN, PROMISING = 2.5, 1.3
#: No step is longer than this share of theta's range.
LONGEST_STEP = 0.25


class State(NamedTuple):
    """A block during the iteration; curves that are done change no more."""

    point: Point
    damping: Float[Array, " curves"]
    steps: Int[Array, " curves"]
    done: Bool[Array, " curves"]


class Limits(NamedTuple):
    """What ends an iteration: bounds of theta (theta, 1), relative and absolute decrease of rss."""

    lower: Float[Array, "theta 1"]
    upper: Float[Array, "theta 1"]
    tolerance: float
    floor: Float[Array, " curves"]


def solve_block(family: Family, options: FitOptions, block: Block) -> State:
    """The best curve for every column of a block, from the best start and, where in doubt, from further ones."""
    limits = make_limits(family, options, block)
    starts, gains = ranked_starts(family, block)
    state = start(family, block, starts[0])
    state = lax.fori_loop(0, LOCKSTEP, lambda _, s: advance(family, block, s, limits), state)
    state = finish(family, block, state, limits, options.max_steps, ~state.done)
    unseen, left = in_doubt(family, block, state.point, gains)

    def again(k, best):
        worth = unseen | (left[k] < PROMISING * best.point.rss)
        trial = finish(family, block, start(family, block, starts[k]), limits, options.max_steps, worth)
        return select(trial.point.rss < best.point.rss, trial, best)

    return lax.fori_loop(1, min(options.starts, len(starts)), again, state)


def make_limits(family: Family, options: FitOptions, block: Block) -> Limits:
    """Bounds and convergence thresholds for a block."""
    lower, upper = family.bounds(block.x)
    eps = jnp.finfo(block.loss.dtype).eps
    tolerance = options.tolerance or (1e-6 if eps > 1e-10 else 1e-12)
    # Rounding of the losses and of the curve: no fit can be told from a better one below this.
    floor = jnp.sum(block.weight * jnp.square(block.loss), axis=0) * (2 * eps) ** 2
    return Limits(lower[:, None], upper[:, None], tolerance, floor)


def start(family: Family, block: Block, theta) -> State:
    """The state at ``theta`` with its best plateaus."""
    zero = jnp.zeros_like(theta[0])
    mean = jnp.sum(block.weight * block.loss, axis=0) / jnp.maximum(jnp.sum(block.weight, axis=0), 1e-30)
    point = project(family, block, theta, mean, mean)
    return State(point, zero + FIRST_DAMPING, zero.astype(jnp.int32), zero > 0)


def advance(family: Family, block: Block, state: State, limits: Limits) -> State:
    """One trial step for every curve that is not done."""
    point = state.point
    frozen = on_bound(point, limits)
    newton = damped_step(point.normal, point.descent, jnp.zeros_like(state.damping), frozen)
    possible = jnp.sum(jnp.where(frozen, 0, point.descent) * newton, axis=0)
    converged = possible <= limits.tolerance * point.rss + limits.floor
    step = damped_step(point.normal, point.descent, state.damping, frozen)
    longest = LONGEST_STEP * (limits.upper - limits.lower)
    theta = jnp.clip(point.theta + jnp.clip(step, -longest, longest), limits.lower, limits.upper)
    trial = project(family, block, theta, point.low, point.high)
    better = trial.rss < point.rss
    creeping = better & (point.rss - trial.rss <= limits.tolerance * point.rss)
    exhausted = ~better & (state.damping > LAST_DAMPING)
    done = state.done | converged | creeping | exhausted
    damping = jnp.where(better, state.damping * EASE, jnp.maximum(state.damping, 1e-3) * TIGHTEN)
    moved = State(select(better, trial, point), damping, state.steps + 1, done)
    return select(state.done, state, moved)


def on_bound(point: Point, limits: Limits) -> Bool[Array, "theta curves"]:
    """Components of theta on a bound beyond which rss would fall."""
    return ((point.theta <= limits.lower) & (point.descent <= 0)) | (
        (point.theta >= limits.upper) & (point.descent >= 0)
    )


def damped_step(normal, descent, damping, frozen):
    """Solve ``(H + damping·diag H) step = descent`` for the free components, by elimination, a curve a lane."""
    size = len(descent)
    info = jnp.finfo(descent.dtype)
    h = [[jnp.where(frozen[i] | frozen[j], 0, normal[i, j]) for j in range(size)] for i in range(size)]
    rhs = [jnp.where(frozen[i], 0, descent[i]) for i in range(size)]
    smallest = [info.eps * normal[i, i] + info.tiny for i in range(size)]
    for i in range(size):
        h[i][i] = jnp.where(frozen[i], 1, h[i][i] * (1 + damping) + info.tiny)
    for i in range(size):
        h[i][i] = jnp.maximum(h[i][i], smallest[i])
        for j in range(i + 1, size):
            factor = h[j][i] / h[i][i]
            rhs[j] = rhs[j] - factor * rhs[i]
            for k in range(i + 1, size):
                h[j][k] = h[j][k] - factor * h[i][k]
    step = []
    for i in reversed(range(size)):
        known = sum((h[i][size - 1 - m] * s for m, s in enumerate(step)), jnp.zeros_like(rhs[i]))
        step.append((rhs[i] - known) / h[i][i])
    return jnp.stack(step[::-1])


def finish(family: Family, block: Block, state: State, limits: Limits, max_steps: int, active) -> State:
    """Iterate the active curves to their end, packed densely: a few slow curves do not hold up a block."""
    curves = block.loss.shape[1]
    packed = min(curves, max(curves // PACKED_SHARE, 128))

    def waiting(carry):
        return jnp.any(carry[1])

    def round_of_steps(carry):
        state, active = carry
        chosen = jnp.nonzero(active, size=packed, fill_value=curves)[0]

        def take(tree):
            return jax.tree.map(lambda a: jnp.take(a, chosen, axis=-1, mode="clip"), tree)

        some = Block(block.x, *take(block[1:]))
        some_limits = limits._replace(floor=take(limits.floor))
        part = lax.fori_loop(0, PACKED_STEPS, lambda _, s: advance(family, some, s, some_limits), take(state))
        state = jax.tree.map(lambda a, b: a.at[..., chosen].set(b, mode="drop"), state, part)
        return state, active & ~state.done & (state.steps < max_steps)

    return lax.while_loop(waiting, round_of_steps, (state, active & ~state.done))[0]


def in_doubt(family: Family, block: Block, point: Point, gains):
    """What tells whether a curve may have a better minimum elsewhere.

    Returns:
        (curves) whether a plateau is barely seen, so that theta and the plateau trade off along a narrow valley;
        (starts, curves) the rss that each start's template leaves.
    """
    total = jnp.sum(block.weight, axis=0)
    mean = jnp.sum(block.weight * block.loss, axis=0) / jnp.maximum(total, 1e-30)
    spread = jnp.sum(block.weight * jnp.square(block.loss - mean), axis=0)
    on_high = jnp.sum(block.weight * family.shape(block.x[:, None], point.theta[:, None]), axis=0)
    seen = jnp.minimum(on_high, total - on_high) * len(block.x) / jnp.maximum(total, 1e-30)
    return seen < BARELY_SEEN, spread - gains


def select(where, left, right):
    """``left`` where true, ``right`` elsewhere, for trees of arrays whose last axis is curves."""
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), left, right)
