"""A schedule as a law sees it from its last update, differentiable in the rates: what a search for rates evaluates."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..clock.schedule_rows import History

#: Updates are taken together where neither their distance to the end nor their place varies by more than this much.
_RATIO, _PIECES = 0.08, 128
#: Pieces of the warm-up.
_WARMUP_PIECES = 32
#: Rates below this multiple of the highest count as this: laws take logarithms.
_LEAST_RATE = 1e-9


class UpdateGrid(NamedTuple):
    """Updates between which rates are straight.

    Attributes:
        node: (nodes,) numbers of updates, from the end of the warm-up to the last, finer towards the end.
        warmup: (pieces,) ends of the pieces of the warm-up, none where there is no warm-up.
    """

    node: Int[np.ndarray, " nodes"]
    warmup: Int[np.ndarray, " pieces"]

    @property
    def progress(self) -> Float[np.ndarray, " nodes"]:
        """Part of the updates after the warm-up that is done, 0 to 1."""
        return (self.node - self.node[0]) / max(self.node[-1] - self.node[0], 1)


def update_grid(num_steps: int, warmup_steps: int) -> UpdateGrid:
    """The grid of a schedule of so many updates, the first of which are a linear warm-up."""
    first = max(warmup_steps, 1)
    length = num_steps - first
    near = np.exp(np.arange(0, np.log(max(length, 1)) + _RATIO, _RATIO))
    distance = np.concatenate([[0, length], near, np.linspace(0, length, _PIECES + 1)]).round().astype(int)
    node = num_steps - np.unique(distance[distance <= length])[::-1]
    ends = np.unique(np.linspace(0, first, min(first, _WARMUP_PIECES) + 1).round().astype(int))
    return UpdateGrid(node, ends)


def last_update(rate: Float[Array, " nodes"], grid: UpdateGrid, peak: float) -> History:
    """The one row of `history` at the last update, for rates that are straight between the nodes of a grid.

    Args:
        rate: (nodes,) learning rate of the update at each node.
        grid: where they are.
        peak: highest rate, as laws know it.

    Returns:
        `History` of one row; `tsl_jax.temporal.history` at the last step gives the same losses.
    """
    node, ends = (jnp.asarray(part, rate.dtype) for part in grid)
    end = jnp.concatenate([ends, node[1:]])
    rates = jnp.concatenate([ends / ends[-1] * rate[0], rate[1:]])
    before, rise, size = rates[:-1], jnp.diff(rates), jnp.diff(end)
    slope = rise / size
    # Over the updates of a piece: the sum of their rates, and the mean sum of those before each.
    total = size * before + slope * size * (size + 1) / 2
    earlier = jnp.concatenate([jnp.zeros(1, rates.dtype), jnp.cumsum(total)])
    passed = earlier[:-1] + before * (size - 1) / 2 + slope * (size**2 - 1) / 6
    least = _LEAST_RATE * peak
    since = jnp.maximum(earlier[-1] - passed, least)
    middle = jnp.maximum(before + slope * (size + 1) / 2, least)
    updates = end[-1] - (end[:-1] + (size + 1) / 2) + 1
    row = end[-1:], earlier[-1:], rates[-1:], jnp.asarray(peak, rates.dtype)[None]
    return History(*row, rise[None], jnp.log(middle)[None], jnp.log(since)[None], updates[None])


def all_rates(rate: np.ndarray, grid: UpdateGrid) -> Float[np.ndarray, " updates"]:
    """The rate of every update, of rates at the nodes."""
    first = int(grid.node[0])
    rising = rate[0] * np.arange(1, first) / first
    return np.concatenate([rising, np.interp(np.arange(first, grid.node[-1] + 1), grid.node, rate)])
