"""The rates that fitted laws prefer: of a shape, by a grid that closes in; of any form, by gradient."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .end_of_schedule import UpdateGrid, last_update
from .interface import Params, ScheduleLaw
from .law_fit import LawFit
from .schedule_shapes import POWERS, ScheduleShape

#: Values of each parameter in a round of the grid, and rounds, each over two steps of the one before.
_VALUES, _ROUNDS = 13, 6
#: Schedules whose losses are computed at once.
_AT_ONCE = _VALUES**2
#: Of the search by gradient: steps of Adam, the first rate of it, and the part of a fall that a start spreads over all
#: knots, so that none is stuck at 0.
_STEPS, _RATE, _SPREAD = 2500, 0.1, 0.02
#: Many courses of the rates are as good within 1e-5 nat: the smoothest is wanted. A jump from the highest to the lowest
#: rate costs twice this part of what the best and the worst start differ by.
_ROUGH = 0.02


class Bounds(NamedTuple):
    """Where rates may lie.

    Attributes:
        peak: the highest rate, and that of every shape's stable phase.
        lowest: the lowest rate after the warm-up.
        shortest: updates over which the last fall extends at least.
    """

    peak: float
    lowest: float
    shortest: int


def end_loss(
    laws: tuple[ScheduleLaw, ...],
    params: tuple[Params, ...],
    rate: Float[Array, " nodes"],
    grid: UpdateGrid,
    peak: float,
) -> Float[Array, ""]:
    """Mean of the laws' losses (nat) after the last update."""
    row = last_update(rate, grid, peak)
    return jnp.mean(jnp.stack([law.predict(p, row)[0] for law, p in zip(laws, params, strict=True)]))


@functools.partial(jax.jit, static_argnums=0)
def _end_losses(laws, params, rates, grid, peak):
    return jax.vmap(lambda rate: end_loss(laws, params, rate, grid, peak))(rates)


def end_losses(
    fits: Sequence[LawFit], rates: Float[np.ndarray, "points nodes"], grid: UpdateGrid, peak: float
) -> Float[np.ndarray, " points"]:
    """`end_loss` of many schedules, by one program whatever their number and shape."""
    laws, params = tuple(fit.law for fit in fits), tuple(fit.params for fit in fits)
    found = []
    for first in range(0, len(rates), _AT_ONCE):
        some = rates[first : first + _AT_ONCE]
        padded = np.pad(some, ((0, _AT_ONCE - len(some)), (0, 0)), mode="edge")
        found.append(np.asarray(_end_losses(laws, params, padded, grid, peak))[: len(some)])
    return np.concatenate(found)


def best_of_shape(
    shape: ScheduleShape, fits: Sequence[LawFit], grid: UpdateGrid, bounds: Bounds
) -> tuple[dict[str, float], Float[np.ndarray, " nodes"], float]:
    """Parameters of a shape with the lowest last loss, the rates at the nodes, and that loss.

    A grid over all parameters, then finer ones around the best, each half as wide a step of the one before.
    """
    progress, names = jnp.asarray(grid.progress), shape.parameters
    length = grid.node[-1] - grid.node[0]
    least_final = max(bounds.lowest / bounds.peak, 1e-6)
    ends = {
        "start": (0.0, 1 - bounds.shortest / length),
        "final": (np.log(least_final), 0.0),
        "power": (np.log(POWERS[0]), np.log(POWERS[1])),
    }
    low, high = (np.array([ends[name][k] for name in names]) for k in (0, 1))

    def rates(point):
        values = {n: point[i] if n == "start" else jnp.exp(point[i]) for i, n in enumerate(names)}
        return bounds.peak * shape.rate(progress, values)

    rates_of = jax.jit(jax.vmap(rates))
    best, width = (low + high) / 2, high - low
    for _ in range(_ROUNDS if names else 1):
        begin = np.clip(best - width / 2, low, high)
        end = np.clip(best + width / 2, low, high)
        points = np.array(list(itertools.product(*np.linspace(begin, end, _VALUES).T)), float)
        points = points.reshape(_VALUES ** len(names), len(names))
        tried = np.asarray(rates_of(points))
        losses = end_losses(fits, tried, grid, bounds.peak)
        lowest = int(np.nanargmin(losses))
        best = points[lowest]
        width = width * 4 / (_VALUES - 1)
    values = {n: float(best[i]) if n == "start" else float(np.exp(best[i])) for i, n in enumerate(names)}
    return values, tried[lowest], float(losses[lowest])


def best_free(
    fits: Sequence[LawFit], grid: UpdateGrid, bounds: Bounds, starts: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, " nodes"], float]:
    """Rates at the nodes that do not rise, with the lowest last loss, and that loss.

        ``η_j = lowest + (peak - lowest) · (1 - Σ_(i ≤ j) w_i)``, ``w`` positive with a sum of 1 (softmax)

    straight between knots; the last share of ``w`` is what does not fall. Minimised is the loss and a small multiple
    of ``Σ (w_j - w_(j-1))²``, by Adam from each start; the lowest loss wins.

    Args:
        fits: the laws, whose losses are averaged.
        grid: nodes of the schedule.
        bounds: of the rates.
        starts: (nodes,) rates to begin from.
    """
    import optax

    distance = grid.node[-1] - grid.node
    knots = np.flatnonzero((distance >= bounds.shortest) | (distance == 0))
    place, knot_place = jnp.asarray(grid.node, float), jnp.asarray(grid.node[knots], float)
    room = bounds.peak - bounds.lowest

    def rates(logits):
        fallen = jnp.cumsum(jax.nn.softmax(logits))[:-1]
        return jnp.interp(place, knot_place, bounds.lowest + room * (1 - fallen))

    def begin(rate):
        left = (np.minimum.accumulate(rate[knots]) - bounds.lowest) / room
        share = np.maximum(-np.diff(left, prepend=1.0, append=0.0), 0)
        share = (1 - _SPREAD) * share / share.sum() + _SPREAD / len(share)
        return np.log(share)

    laws, params = tuple(fit.law for fit in fits), tuple(fit.params for fit in fits)
    begun = end_losses(fits, np.stack(starts), grid, bounds.peak)
    rough = _ROUGH * (max(begun) - min(begun))

    def objective(logits):
        jumps = jnp.diff(jax.nn.softmax(logits)[:-1], prepend=0.0)
        return end_loss(laws, params, rates(logits), grid, bounds.peak) + rough * jnp.sum(jumps**2)

    slope_of = jax.value_and_grad(objective)
    rule = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))

    def step(_, state):
        logits, memory, lowest, best = state
        loss, slope = slope_of(logits)
        better = loss < lowest
        update, memory = rule.update(slope, memory)
        best = jnp.where(better, logits, best)
        return optax.apply_updates(logits, update), memory, jnp.where(better, loss, lowest), best

    @functools.partial(jax.jit)
    @jax.vmap
    def search(logits):
        state = logits, rule.init(logits), jnp.inf * jnp.ones((), logits.dtype), logits
        best = rates(jax.lax.fori_loop(0, _STEPS, step, state)[-1])
        return end_loss(laws, params, best, grid, bounds.peak), best

    losses, found = search(jnp.asarray(np.stack([begin(np.asarray(rate)) for rate in starts])))
    best = int(np.nanargmin(losses))
    return np.asarray(found[best]), float(losses[best])
