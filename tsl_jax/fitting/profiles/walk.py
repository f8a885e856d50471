"""The walk along a profile: from a fit outwards, one parameter held, until the rss has risen by as much as allowed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...curves import Family
from ..xla.kernel import tile_size
from ..xla.projection import CurveBlock, rooted
from ..xla.steps import EASE, FIRST_DAMPING, LAST_DAMPING, TIGHTEN, damped_step, select
from .constrained import Curves, Profiled, Trial, project_constrained

#: The minimum over the other parameters is found to this fraction of the rise that is allowed.
INNER_TOLERANCE = 2e-3
#: Most Levenberg-Marquardt steps for it, and most places of the parameter.
MOST_INNER, MOST_PLACES = 24, 40
#: Rounds before lanes that are done make room.
ROUNDS = 3
#: An end is found where the square root of the rise is within this fraction of the allowed one's, or where it lies
#: between places this close together, relative to their distance from the fit.
END_TOLERANCE, CLOSE = 5e-3, 1e-4
#: While the end is not yet passed, the distance from the fit grows by at least and at most so much.
LEAST_GROWTH, MOST_GROWTH = 1.3, 4.0
#: No step of theta is longer than this fraction of its range.
LONGEST_STEP = 0.2


class Place(NamedTuple):
    """A value of the parameter with the best other parameters found there."""

    value: Curves
    theta: Float[Array, "theta curves"]
    low: Curves
    high: Curves
    excess: Curves  # square root of the rise over the allowed one, less 1


class Walk(NamedTuple):
    """One side of every curve on its way; curves that are done change no more."""

    value: Curves  # where the parameter is held now
    theta: Float[Array, "theta curves"]  # to be tried next
    best: Trial  # at this value; its rss is infinite before the first
    damping: Curves
    inner: Int[Array, " curves"]
    places: Int[Array, " curves"]
    inside: Place  # the farthest place known to lie inside
    outside: Place  # the nearest one known to lie outside
    passed: Bool[Array, " curves"]  # whether there is one
    last_outside: Bool[Array, " curves"]  # whether the place before lay outside
    limited: Bool[Array, " curves"]  # the limit was reached inside
    done: Bool[Array, " curves"]


class Task(NamedTuple):
    """What a walk is given; a lane is one side of one curve."""

    estimate: Curves  # the parameter's value at the fit
    theta: Float[Array, "theta curves"]
    low: Curves
    high: Curves
    rss: Curves
    allowed: Curves  # rise of the rss
    first: Curves  # first distance from the fit, with its sign
    limit: Curves  # the parameter goes no farther


def walk_outwards(family: Family, profiled: Profiled, window, block: CurveBlock, task: Task) -> Walk:
    """Both sides of every curve to their ends, in one tile: where a lane is done, the next one takes its place.

    A lane is a state machine, one evaluation a round: Levenberg-Marquardt steps for the other parameters at one value
    of the parameter, then the next value, farther out while the rise is too small, and by the Illinois form of false
    position, in the root of the rise, as soon as the end is passed.

    Args:
        block: (curves). task: (2 curves), all lower sides first.
    """
    curves, lanes = block.loss.shape[1], len(task.estimate)
    tile = min(tile_size(len(block.x)), lanes)
    bounds = tuple(bound.astype(block.x.dtype)[:, None] for bound in family.bounds(block.x))
    state = _begin(task)
    queue = jnp.nonzero(~state.done, size=lanes, fill_value=lanes)[0]
    rows = block.loss.T, block.weight.T  # curves are taken from memory whole, not value by value

    def some_rounds(carry):
        state, chosen, taken = carry
        curve = jnp.where(chosen < lanes, chosen, 0) % curves
        columns = (jnp.take(a, curve, axis=0).T for a in rows)
        data = rooted(CurveBlock(block.x, *columns, *(a[curve] for a in block[3:])))
        given, part = jax.tree.map(lambda a: jnp.take(a, chosen, axis=-1, mode="clip"), (task, state))

        def round_(_, part):
            trial = project_constrained(
                family, profiled, window, data, part.value, part.theta, part.best.low, part.best.high
            )
            stepped, ready = _descend(part, trial, given, *bounds)
            return select(part.done, part, select(ready, _place(stepped, given, *bounds), stepped))

        part = lax.fori_loop(0, ROUNDS, round_, part)
        state = jax.tree.map(lambda a, b: a.at[..., chosen].set(b, mode="drop"), state, part)
        free = part.done | (chosen == lanes)
        following = jnp.take(queue, taken + jnp.cumsum(free) - 1, mode="fill", fill_value=lanes)
        return state, jnp.where(free, following, chosen), taken + jnp.sum(free)

    first = queue[:tile]
    return lax.while_loop(
        lambda carry: jnp.any(carry[1] < lanes), some_rounds, (state, first, jnp.full_like(first[0], tile))
    )[0]


def _begin(task: Task) -> Walk:
    """Every lane before its first evaluation."""
    size, zero = len(task.theta), jnp.zeros_like(task.estimate)
    value = _towards(task, task.estimate + task.first)
    nothing, no = zero.astype(jnp.int32), zero > 0
    at_fit = Place(task.estimate, task.theta, task.low, task.high, zero - 1)
    at_limit = task.estimate == task.limit
    normal = jnp.zeros((size, size, *zero.shape), zero.dtype)
    blank = Trial(task.theta, task.low, task.high, zero + jnp.inf, normal, jnp.zeros_like(task.theta))
    return Walk(
        value=value,
        theta=task.theta,
        best=blank,
        damping=zero + FIRST_DAMPING,
        inner=nothing,
        places=nothing,
        inside=at_fit,
        outside=at_fit,
        passed=no,
        last_outside=no,
        limited=at_limit,
        done=at_limit | ~(task.allowed > 0) | ~jnp.isfinite(value) | ~jnp.isfinite(task.rss),
    )


def _towards(task: Task, value):
    """The value, no farther than the limit."""
    return jnp.where(task.first > 0, jnp.minimum(value, task.limit), jnp.maximum(value, task.limit))


def _descend(state: Walk, trial: Trial, task: Task, lower, upper) -> tuple[Walk, Bool[Array, " curves"]]:
    """One step for the other parameters, and whether they are good enough."""
    evaluated = state.best.rss < jnp.inf
    better = trial.rss < state.best.rss
    best = select(better | ~evaluated, trial, state.best)
    damping = jnp.where(better, state.damping * EASE, jnp.maximum(state.damping, FIRST_DAMPING) * TIGHTEN)
    damping = jnp.where(evaluated, damping, FIRST_DAMPING)
    active = ((best.theta <= lower) & (best.negative_half_gradient <= 0)) | (
        (best.theta >= upper) & (best.negative_half_gradient >= 0)
    )
    both = jnp.stack([jnp.zeros_like(damping), damping])
    newton, step = jnp.moveaxis(damped_step(best.normal, best.negative_half_gradient, both, active), 1, 0)
    predicted = jnp.sum(jnp.where(active, 0, best.negative_half_gradient) * newton, axis=0)
    longest = LONGEST_STEP * (upper - lower)
    theta = jnp.clip(best.theta + jnp.clip(step, -longest, longest), lower, upper)
    inner = state.inner + 1
    ready = (predicted <= INNER_TOLERANCE * task.allowed) | (damping > LAST_DAMPING) | (inner >= MOST_INNER)
    ready |= ~(best.rss < jnp.inf)
    return state._replace(theta=theta, best=best, damping=damping, inner=inner), ready


def _place(state: Walk, task: Task, lower, upper) -> Walk:
    """Takes down what the profile is here, and where to look next."""
    rss = jnp.where(jnp.isfinite(state.best.rss), state.best.rss, jnp.inf)
    rise = jnp.maximum(rss - task.rss, 0) / task.allowed
    excess = jnp.sqrt(rise) - 1
    here = Place(state.value, state.best.theta, state.best.low, state.best.high, excess)
    out = excess > 0
    # False position converges from both sides only if an end that stays is taken for half as far off (Illinois).
    again = state.passed & (state.places > 0) & (state.last_outside == out)
    inside = select(out, state.inside._replace(excess=state.inside.excess / jnp.where(again, 2, 1)), here)
    kept = state.outside._replace(excess=state.outside.excess / jnp.where(again, 2, 1))
    outside = select(out, here, kept)
    passed = state.passed | out
    farther = _farther(task, inside)
    fraction = inside.excess / jnp.where(passed, inside.excess - outside.excess, -1)
    fraction = jnp.where(jnp.isfinite(outside.excess), jnp.clip(fraction, 0.02, 0.98), 0.5)
    value = jnp.where(passed, inside.value + fraction * (outside.value - inside.value), farther)
    apart = jnp.abs(outside.value - inside.value) <= CLOSE * jnp.abs(outside.value - task.estimate)
    limited = ~out & (here.value == task.limit)
    places = state.places + 1
    done = limited | (jnp.abs(excess) < END_TOLERANCE) | (passed & apart) | (places >= MOST_PLACES)
    # The other parameters follow the line through the two places that are known.
    ahead = inside.theta + _ratio(value - inside.value, inside.value - task.estimate) * (inside.theta - task.theta)
    between = inside.theta + fraction * (outside.theta - inside.theta)
    theta = jnp.clip(jnp.where(passed & jnp.isfinite(outside.excess), between, ahead), lower, upper)
    return state._replace(
        value=value,
        theta=jnp.where(jnp.isfinite(theta), theta, inside.theta),
        best=state.best._replace(rss=jnp.full_like(rise, jnp.inf)),
        inner=jnp.zeros_like(state.inner),
        places=places,
        inside=inside,
        outside=outside,
        passed=passed,
        last_outside=out,
        limited=limited,
        done=done,
    )


def _farther(task: Task, inside: Place):
    """A value beyond the place, from how the root of the rise grew up to there."""
    grown = jnp.clip(1.1 / jnp.maximum(1 + inside.excess, 1e-3), LEAST_GROWTH, MOST_GROWTH)
    distance = inside.value - task.estimate
    return _towards(task, task.estimate + jnp.where(distance == 0, task.first, grown * distance))


def _ratio(a, b):
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def end_of(state: Walk) -> tuple[Curves, Place]:
    """The end, between the two places or where there is no other at the place inside, and the place nearest to it."""
    a, b = state.inside, state.outside
    known = state.passed & jnp.isfinite(b.excess) & (b.excess - a.excess > 0)
    fraction = jnp.where(known, -a.excess / jnp.where(known, b.excess - a.excess, 1), 0)
    end = a.value + fraction * (b.value - a.value)
    return end, select(fraction > 0.5, b, a)
