"""Which cells of a statistic each token is counted in, and the whole numbers it adds there."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from ..pytrees import pytree
from .blocks import TokenBlock
from .events import DROP_UNIT, NUM_KINDS, SQUARE_UNIT, Kind, events_of
from .grid import SpectrumGrid


@pytree
class Cells:
    """Where each token is counted, as flat indices (past the end: nowhere), and the whole numbers it adds there.

    Attributes:
        event: cell of its event, of all resample groups.
        lower, upper: cells of the two sharpnesses that share its drop.
        lower_drop, upper_drop: their parts, in `DROP_UNIT`.
        square: square of the drop, in `SQUARE_UNIT`.
        kind: cell of its `Kind`.
        side: cell of its sign of ``level``.
        level: size of its loss at the end of the window, in `DROP_UNIT`.
    """

    event: Int[Array, " tokens"]
    lower: Int[Array, " tokens"]
    upper: Int[Array, " tokens"]
    lower_drop: UInt32[Array, " tokens"]
    upper_drop: UInt32[Array, " tokens"]
    square: UInt32[Array, " tokens"]
    kind: Int[Array, " tokens"]
    side: Int[Array, " tokens"]
    level: UInt32[Array, " tokens"]


def cells_of(grid: SpectrumGrid, block: TokenBlock) -> Cells:
    """What the tokens of a block add to a spectrum."""
    events = events_of(grid, block)
    kind, group = events.kind, events.resample
    size = grid.resamples * int(np.prod(grid.shape))

    def whole(values, unit):
        return jnp.round(values / unit).astype(jnp.uint32)

    row = ((group * 2 + events.rises) * grid.shape[1] + events.time) * grid.sharpness_bins

    def cell(sharpness):
        return jnp.where(kind <= Kind.LATE, row + sharpness, size)

    # A drop is shared between the two sharpnesses around its own, in whole units: mean ln(sharpness) and total stay.
    upper = whole(events.drop * events.next_fraction, DROP_UNIT)
    return Cells(
        event=cell(events.sharpness),
        lower=cell(events.nearest),
        upper=cell(jnp.minimum(events.nearest + 1, grid.sharpness_bins - 1)),
        lower_drop=jnp.maximum(whole(events.drop, DROP_UNIT), upper) - upper,  # never below 0, however rounded
        upper_drop=upper,
        square=whole(events.drop**2, SQUARE_UNIT),
        kind=jnp.where(kind < NUM_KINDS, group * NUM_KINDS + kind, grid.resamples * NUM_KINDS),
        side=jnp.where(kind <= Kind.CONSTANT, group * 2 + (events.level < 0), grid.resamples * 2),
        level=whole(jnp.abs(events.level), DROP_UNIT),
    )


@pytree
class GroupCells:
    """Where each token is counted within its group, as flat indices (past the end: nowhere), arrays (tokens,).

    Attributes:
        event: among resample groups, signs and times.
        kind: among resample groups and kinds.
        resample: its resample group.
    """

    event: Int[Array, " tokens"]
    kind: Int[Array, " tokens"]
    resample: Int[Array, " tokens"]


def group_cells_of(grid: SpectrumGrid, block: TokenBlock) -> GroupCells:
    """What the tokens of a block add to the counts of their groups."""
    events = events_of(grid, block)
    event = (events.resample * 2 + events.rises) * grid.shape[1] + events.time
    kind = events.resample * NUM_KINDS + events.kind
    return GroupCells(
        event=jnp.where(events.kind <= Kind.LATE, event, grid.resamples * 2 * grid.shape[1]),
        kind=jnp.where(events.kind < NUM_KINDS, kind, grid.resamples * NUM_KINDS),
        resample=events.resample,
    )
