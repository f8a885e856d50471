"""Levenberg-Marquardt on many curves, which pass through one tile that is always full.

Curves are worked on in tiles that stay in a CPU's cache. A batched loop runs until its slowest curve ends; so every few
steps the curves of the tile that are done make room for others.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ...curves import Family
from ..options import FitOptions
from .projection import CurveBlock, Point, rooted
from .search import ranked_starts
from .steps import Limits, State, advance, damped_step, make_limits, on_bound, select, start

#: Steps before those that are done make room (the first step of a curve only evaluates its start).
STEPS_A_ROUND = 3
#: Further starts are tried where a plateau, or the transition of a curve that leaves at most a fraction `CLEAR` of the
#: variance, has fewer than this many checkpoints, and where a start's template alone leaves at most this multiple of
#: the best rss.
BARELY_SEEN, CLEAR, PROMISING = 2.5, 0.01, 1.02
#: A further start is in the valley of the best fit where its rss follows that fit's quadratic model this closely,
#: relative to the model's rise and to the best rss.
SAME_RISE, SAME_RSS = 0.2, 1e-4
#: Of a best fit that leaves less than this fraction of the variance no quadratic model is a judge: all starts go on,
#: and as long as it is not perfect to rounding there are more of them.
PERFECT, MOST_STARTS = 1e-5, 8


def solve_block(family: Family, options: FitOptions, block: CurveBlock) -> State:
    """The best curve for every column of a block, from the best start and, where in doubt, from further ones."""

    starts, reductions = over_tiles(lambda part: ranked_starts(family, part, most_starts(options)), block)
    floor = make_limits(family, options, block).floor
    doubtful = functools.partial(doubts, family)

    def imperfect(best, tss):
        return (best.point.rss < PERFECT * tss) & (best.point.rss > floor)

    def going(carry):
        k, best, _, tss = carry
        return (k < options.starts) | ((k < len(starts)) & jnp.any(imperfect(best, tss)))

    def attempt(carry):
        k, best, unseen, tss = carry
        unseen, tss = lax.cond(k == 1, lambda: over_tiles(doubtful, block, best.point), lambda: (unseen, tss))
        worth = unseen | (tss - reductions[k] < PROMISING * best.point.rss)
        worth = (k == 0) | jnp.where(k < options.starts, worth, imperfect(best, tss))
        unrivalled = (k == 0) | (best.point.rss < PERFECT * tss)
        rival = best.point._replace(rss=jnp.where(unrivalled, jnp.inf, best.point.rss))
        # One call for all, the first start too: it is most of the program, which so compiles once.
        trial = finish(family, options, block, start(block, starts[k]), worth, rival)
        best = select((k == 0) | (trial.done & (trial.point.rss < best.point.rss)), trial, best)
        return k + 1, best, unseen, tss

    nothing = jnp.zeros_like(floor)
    return lax.while_loop(going, attempt, (0, start(block, starts[0]), nothing > 0, nothing))[1]


def most_starts(options: FitOptions) -> int:
    """Starts that are kept of each curve's search."""
    return 1 if options.starts == 1 else max(options.starts, MOST_STARTS)


def tile_size(num_checkpoints: int) -> int:
    """Curves that are worked on together: on a CPU what stays in its second-level cache, else what fills a GPU."""
    if jax.default_backend() == "cpu":
        wanted = min(max(16384 // num_checkpoints, 64), 256)
    else:
        wanted = min(max((1 << 22) // num_checkpoints, 1 << 12), 1 << 18)
    return 1 << wanted.bit_length() - 1


def over_tiles(function, block: CurveBlock, *others):
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
    return jax.tree.map(join, lax.map(lambda part: function(CurveBlock(block.x, *part[0]), *part[1]), parts))


def finish(family: Family, options: FitOptions, block: CurveBlock, state: State, wanted, rival: Point) -> State:
    """Iterate the wanted curves to their end in one tile: where a curve is done, the next one takes its lane.

    A curve that after a few steps is not predicted to end below its rival, or to end elsewhere, is given up.
    """
    curves = block.loss.shape[1]
    queue = jnp.nonzero(wanted & ~state.done, size=curves, fill_value=curves)[0]
    rows = block.loss.T, block.weight.T  # curves are taken from memory whole, not value by value

    def some_steps(carry):
        state, chosen, taken = carry

        def take(tree):
            return jax.tree.map(lambda a: jnp.take(a, chosen, axis=-1, mode="clip"), tree)

        columns = (jnp.take(a, chosen, axis=0, mode="clip").T for a in rows)
        part, lanes = CurveBlock(block.x, *columns, *take(block[3:])), take(state)
        limits = make_limits(family, options, part)
        weighted = rooted(part)
        lanes = lax.fori_loop(0, STEPS_A_ROUND, lambda _, s: advance(family, weighted, s, limits), lanes)
        going = ~lanes.done & (lanes.steps < options.max_steps) & may_win(lanes.point, take(rival), limits)
        state = jax.tree.map(lambda a, b: a.at[..., chosen].set(b, mode="drop"), state, lanes)
        free = ~going | (chosen == curves)
        following = jnp.take(queue, taken + jnp.cumsum(free) - 1, mode="fill", fill_value=curves)
        return state, jnp.where(free, following, chosen), taken + jnp.sum(free)

    first = queue[: tile_size(len(block.x))]
    carry = (state, first, jnp.full_like(queue[0], len(first)))
    return lax.while_loop(lambda carry: jnp.any(carry[1] < curves), some_steps, carry)[0]


def may_win(point: Point, rival: Point, limits: Limits) -> Bool[Array, " curves"]:
    """Whether a point's quadratic model reaches below its rival's rss, from another valley than the rival's own."""
    active = on_bound(point, limits)
    newton = damped_step(point.normal, point.negative_half_gradient, jnp.zeros_like(point.rss), active)
    below = point.rss - jnp.sum(jnp.where(active, 0, point.negative_half_gradient) * newton, axis=0) < rival.rss
    apart = point.theta - rival.theta
    rise = jnp.sum(apart * jnp.sum(rival.normal * apart[None], axis=1), axis=0)
    same = jnp.abs(point.rss - rival.rss - rise) < SAME_RISE * rise + SAME_RSS * rival.rss
    return below & ~same


def doubts(family: Family, block: CurveBlock, point: Point) -> tuple[Bool[Array, " curves"], Float[Array, " curves"]]:
    """Whether curves may have a better minimum wherever it is, and their sum of squares around the mean.

    So it is where a plateau is barely seen, and where a clear transition is: theta trades off along narrow valleys.
    """
    total = jnp.sum(block.weight, axis=0)
    per_point = len(block.x) / jnp.maximum(total, 1e-30)
    mean = jnp.sum(block.weight * block.loss, axis=0) / jnp.maximum(total, 1e-30)
    tss = jnp.sum(block.weight * jnp.square(block.loss - mean), axis=0)
    f = family.shape(block.x[:, None], point.theta[:, None])
    high = jnp.sum(block.weight * f, axis=0) * per_point
    between = 4 * jnp.sum(block.weight * f * (1 - f), axis=0) * per_point
    plateau_unseen = jnp.minimum(high, len(block.x) - high) < BARELY_SEEN
    transition_unseen = (between < BARELY_SEEN) & (point.rss < CLEAR * tss)
    return (total > 0) & (plateau_unseen | transition_unseen), tss
