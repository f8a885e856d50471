"""What tails are fitted to: falling events by learning time, and how far fits see them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from ...linalg.known import module_of
from ...pytrees import pytree
from ..decomposition import Weighting
from ..pulses import product, pulse_table
from ..statistic import Moments


@pytree
class Cuts:
    """First bin of a tail and one past its last, None where the data choose; and what they choose by."""

    first: Int[Array, ""] | None
    stop: Int[Array, ""] | None
    seen: Float[Array, ""]
    least_events: Float[Array, ""]


def falling(moments: Moments, weighting: Weighting) -> Float[Array, " times"]:
    """Falling events inside the window by learning time, or their drops."""
    xp = module_of(moments.count)
    cells = moments.count if weighting == "count" else moments.drop
    return xp.sum(cells[0, moments.grid.inside], 1)


def seen_until(moments: Moments, seen: Float[Array, ""]) -> Int[Array, ""]:
    """One past the last bin of the window from which this fraction of a mean falling pulse lies before its end."""
    xp = module_of(moments.count)
    grid = moments.grid
    table = xp.asarray(np.cumsum(pulse_table(grid)[:, ::-1], axis=1), xp.float32)  # beyond -lag, by symmetry
    drops = xp.sum(moments.drop[0, grid.inside], 0)
    reached = product(drops, table) / xp.maximum(xp.sum(drops), 1e-30)
    lags = xp.arange(-grid.time_bins, grid.time_bins + 1)
    needed = xp.min(xp.where(reached >= seen, lags, grid.time_bins))
    return xp.clip(grid.time_bins - needed, 0, grid.time_bins)


class TailMasses(NamedTuple):
    """What tails are fitted to: masses by weighting, events in one of each, one past the last bin, 1 / tokens."""

    masses: Float[Array, "*batch weightings times"]
    per_mass: Float[Array, "*batch weightings"]
    stop: Int[Array, "*batch"]
    per_token: Float[Array, "*batch"]


def tail_masses(moments: Moments, cuts: Cuts, weightings: tuple[Weighting, ...] = ("count", "drop")) -> TailMasses:
    """What the tails of these moments are fitted to."""
    xp = module_of(moments.count)
    masses = xp.stack([falling(moments, weighting) for weighting in weightings])
    # Kish's effective number: equal events that one nat of drop stands for.
    square = xp.sum(moments.square[0, moments.grid.inside])
    effective = xp.where(square > 0, xp.sum(masses[-1]) / xp.maximum(square, 1e-30), 0)
    per_mass = xp.stack([xp.ones(()) if weighting == "count" else effective for weighting in weightings])
    stop = seen_until(moments, cuts.seen) if cuts.stop is None else cuts.stop
    return TailMasses(masses, per_mass, stop, moments.per_token)
