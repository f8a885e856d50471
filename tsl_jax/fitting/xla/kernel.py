"""Levenberg-Marquardt on many curves, which pass through one tile that is always full.

Curves are worked on in tiles that stay in a CPU's cache. A batched loop runs until its slowest curve ends; so every few
steps the curves of the tile that are done make room for others.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...curves import Family
from ..options import FitOptions
from .projection import Block, Point, Rooted, project, rooted
from .search import ranked_starts

#: Steps before those that are done make room (the first step of a curve only evaluates its start).
STEPS_A_ROUND = 3
#: Damping relative to the diagonal: at the start, its change after a success and a failure (which takes it for at least
#: `FAILED_DAMPING`), where a curve that still fails is as good as its floating-point numbers allow.
FIRST_DAMPING, FAILED_DAMPING, EASE, TIGHTEN, LAST_DAMPING = 1e-2, 1e-2, 0.1, 10.0, 1e4
#: Further starts are tried where a plateau, or the transition of a curve that leaves at most a share `CLEAR` of the
#: variance, has fewer than this many checkpoints, and where a start's template alone leaves at most this multiple of
#: the best rss.
BARELY_SEEN, CLEAR, PROMISING = 2.5, 0.01, 1.02
#: A further start is in the valley of the best fit where its rss follows that fit's quadratic model this closely,
#: relative to the model's rise and to the best rss.
SAME_RISE, SAME_RSS = 0.2, 1e-4
#: Of a best fit that leaves less than this share of the variance no quadratic model is a judge: all starts go on, and
#: as long as it is not perfect to rounding there are more of them.
PERFECT, MOST_STARTS = 1e-5, 8
#: No step is longer than this share of theta's range.
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


def solve_block(family: Family, options: FitOptions, block: Block) -> State:
    """The best curve for every column of a block, from the best start and, where in doubt, from further ones."""

    starts, gains = over_tiles(lambda part: ranked_starts(family, part, most_starts(options)), block)
    floor = make_limits(family, options, block).floor
    doubtful = functools.partial(doubts, family)

    def imperfect(best, spread):
        return (best.point.rss < PERFECT * spread) & (best.point.rss > floor)

    def going(carry):
        k, best, _, spread = carry
        return (k < options.starts) | ((k < len(starts)) & jnp.any(imperfect(best, spread)))

    def attempt(carry):
        k, best, unseen, spread = carry
        unseen, spread = lax.cond(k == 1, lambda: over_tiles(doubtful, block, best.point), lambda: (unseen, spread))
        worth = unseen | (spread - gains[k] < PROMISING * best.point.rss)
        worth = (k == 0) | jnp.where(k < options.starts, worth, imperfect(best, spread))
        unrivalled = (k == 0) | (best.point.rss < PERFECT * spread)
        rival = best.point._replace(rss=jnp.where(unrivalled, jnp.inf, best.point.rss))
        # One call for all, the first start too: it is most of the program, which so compiles once.
        trial = finish(family, options, block, start(block, starts[k]), worth, rival)
        best = select((k == 0) | (trial.done & (trial.point.rss < best.point.rss)), trial, best)
        return k + 1, best, unseen, spread

    nothing = jnp.zeros_like(floor)
    return lax.while_loop(going, attempt, (0, start(block, starts[0]), nothing > 0, nothing))[1]


def most_starts(options: FitOptions) -> int:
    """Starts that are kept of each curve's search."""
    return 1 if options.starts == 1 else max(options.starts, MOST_STARTS)


def tolerance(options: FitOptions, eps: float) -> float:
    """Relative decrease of rss that ends an iteration, for floating-point numbers of this resolution."""
    return options.tolerance or (1e-6 if eps > 1e-10 else 1e-12)


def rounding(eps: float) -> float:
    """The share of the sum of squares of the losses that rounding leaves as rss."""
    return (ROUNDING * eps) ** 2


def tile_size(num_checkpoints: int) -> int:
    """Curves that are worked on together: on a CPU what stays in its second-level cache, else what fills a GPU."""
    if jax.default_backend() == "cpu":
        wanted = min(max(16384 // num_checkpoints, 64), 256)
    else:
        wanted = min(max((1 << 22) // num_checkpoints, 1 << 12), 1 << 18)
    return 1 << wanted.bit_length() - 1


def over_tiles(function, block: Block, *others):
    """Apply ``function(block, *others)``, whose arrays all have curves on the last axis, tile by tile."""
    curves, tile = block.loss.shape[-1], tile_size(len(block.x))
    if curves <= tile:
        return function(block, *others)
    if curves % tile:
        raise ValueError(f"block of {curves} curves: expected at most {tile} or a multiple of it")

    def cut(a):
        return jnp.moveaxis(a.reshape(*a.shape[:-1], curves // tile, tile), -2, 0)

    def join(a):
        return jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], curves)

    parts = jax.tree.map(cut, (block[1:], others))
    return jax.tree.map(join, lax.map(lambda part: function(Block(block.x, *part[0]), *part[1]), parts))


def make_limits(family: Family, options: FitOptions, block: Block) -> Limits:
    """Bounds and convergence thresholds for a block."""
    # Where JAX has float64 on, a family may give it whatever x is.
    lower, upper = (bound.astype(block.x.dtype) for bound in family.bounds(block.x))
    eps = float(jnp.finfo(block.loss.dtype).eps)
    floor = jnp.sum(block.weight * jnp.square(block.loss), axis=0) * rounding(eps)
    return Limits(lower[:, None], upper[:, None], tolerance(options, eps), floor)


def start(block: Block, theta) -> State:
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
    frozen = on_bound(point, limits)
    # The undamped step, which tells how much is left to gain, and the damped one, by one elimination.
    both = jnp.stack([jnp.zeros_like(damping), damping])
    newton, step = jnp.moveaxis(damped_step(point.normal, point.descent, both, frozen), 1, 0)
    possible = jnp.sum(jnp.where(frozen, 0, point.descent) * newton, axis=0)
    converged = (point.rss < jnp.inf) & (possible <= limits.tolerance * point.rss + limits.floor)
    step = within_room(point, step, damping, limits)
    moved = State(point, step, damping, state.steps + 1, converged | creeping | exhausted)
    return select(state.done, state, moved)


def on_bound(point: Point, limits: Limits) -> Bool[Array, "theta curves"]:
    """Components of theta on a bound beyond which rss would fall."""
    return ((point.theta <= limits.lower) & (point.descent <= 0)) | (
        (point.theta >= limits.upper) & (point.descent >= 0)
    )


def damped_step(normal, descent, damping, frozen):
    """Solve ``(H + damping·diag H) step = descent`` for the free components, by elimination, a curve a lane.

    Args:
        normal: (theta, theta, curves) H. descent: (theta, curves). frozen: (theta, curves), components that stay.
        damping: (\\*dampings, curves).

    Returns:
        (theta, \\*dampings, curves) steps.
    """
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
    follow = jnp.clip((point.descent - coupled) / jnp.maximum(diagonal * (1 + damping), tiny), least, most)
    return jnp.where(cut | ~jnp.any(cut, axis=0) | (step == 0), short, follow)


def finish(family: Family, options: FitOptions, block: Block, state: State, active, rival: Point) -> State:
    """Iterate the active curves to their end in one tile: where a curve is done, the next one takes its lane.

    A curve that after a few steps does not promise to end below its rival, or to end elsewhere, is given up.
    """
    curves = block.loss.shape[1]
    queue = jnp.nonzero(active & ~state.done, size=curves, fill_value=curves)[0]
    rows = block.loss.T, block.weight.T  # curves are taken from memory whole, not value by value

    def some_steps(carry):
        state, chosen, taken = carry

        def take(tree):
            return jax.tree.map(lambda a: jnp.take(a, chosen, axis=-1, mode="clip"), tree)

        columns = (jnp.take(a, chosen, axis=0, mode="clip").T for a in rows)
        part, lanes = Block(block.x, *columns, *take(block[3:])), take(state)
        limits = make_limits(family, options, part)
        weighted = rooted(part)
        lanes = lax.fori_loop(0, STEPS_A_ROUND, lambda _, s: advance(family, weighted, s, limits), lanes)
        going = ~lanes.done & (lanes.steps < options.max_steps) & promises(lanes.point, take(rival), limits)
        state = jax.tree.map(lambda a, b: a.at[..., chosen].set(b, mode="drop"), state, lanes)
        free = ~going | (chosen == curves)
        following = jnp.take(queue, taken + jnp.cumsum(free) - 1, mode="fill", fill_value=curves)
        return state, jnp.where(free, following, chosen), taken + jnp.sum(free)

    first = queue[: tile_size(len(block.x))]
    carry = (state, first, jnp.full_like(queue[0], len(first)))
    return lax.while_loop(lambda carry: jnp.any(carry[1] < curves), some_steps, carry)[0]


def promises(point: Point, rival: Point, limits: Limits) -> Bool[Array, " curves"]:
    """Whether a point's quadratic model reaches below its rival's rss, from another valley than the rival's own."""
    frozen = on_bound(point, limits)
    newton = damped_step(point.normal, point.descent, jnp.zeros_like(point.rss), frozen)
    below = point.rss - jnp.sum(jnp.where(frozen, 0, point.descent) * newton, axis=0) < rival.rss
    apart = point.theta - rival.theta
    rise = jnp.sum(apart * jnp.sum(rival.normal * apart[None], axis=1), axis=0)
    same = jnp.abs(point.rss - rival.rss - rise) < SAME_RISE * rise + SAME_RSS * rival.rss
    return below & ~same


def doubts(family: Family, block: Block, point: Point) -> tuple[Bool[Array, " curves"], Float[Array, " curves"]]:
    """Whether curves may have a better minimum wherever it is, and their sum of squares around the mean.

    So it is where a plateau is barely seen, and where a clear transition is: theta trades off along narrow valleys.
    """
    total = jnp.sum(block.weight, axis=0)
    per_point = len(block.x) / jnp.maximum(total, 1e-30)
    mean = jnp.sum(block.weight * block.loss, axis=0) / jnp.maximum(total, 1e-30)
    spread = jnp.sum(block.weight * jnp.square(block.loss - mean), axis=0)
    f = family.shape(block.x[:, None], point.theta[:, None])
    high = jnp.sum(block.weight * f, axis=0) * per_point
    between = 4 * jnp.sum(block.weight * f * (1 - f), axis=0) * per_point
    plateau_unseen = jnp.minimum(high, len(block.x) - high) < BARELY_SEEN
    transition_unseen = (between < BARELY_SEEN) & (point.rss < CLEAR * spread)
    return (total > 0) & (plateau_unseen | transition_unseen), spread


def select(where, left, right):
    """``left`` where true, ``right`` elsewhere, for trees of arrays whose last axis is curves."""
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), left, right)
