"""Is the pulse shared? Mean pulses of groups by learning time."""

import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.known import compiled, module_of
from ..pytrees import pytree, static
from .decomposition import moments_of
from .grid import SpectrumGrid
from .pulses import level_reached, product, pulse_table
from .statistic import Moments, Spectrum


@pytree
class PulseGroups:
    """Events inside the window in groups of equal number by learning time, earliest first.

    Groups without events (of an empty spectrum) are NaN.

    Attributes:
        start, u, end: learning time at which the group starts, its mean, and at which it ends, u.
        events: number of events; equal up to rounding.
        pulse: mean centred pulse at `SpectrumGrid.lags`, nat/u; rising losses count negative.
        drop, drop_std: mean and standard deviation of the drops with sign, nat.
        log_sharpness, log_sharpness_std: of ln(sharpness), sharpness in 1/u; steps count as the grid's steepest.
        grid: the bins (static).
    """

    start: Float[Array, " groups"]
    u: Float[Array, " groups"]
    end: Float[Array, " groups"]
    events: Float[Array, " groups"]
    pulse: Float[Array, "groups lags"]
    drop: Float[Array, " groups"]
    drop_std: Float[Array, " groups"]
    log_sharpness: Float[Array, " groups"]
    log_sharpness_std: Float[Array, " groups"]
    grid: SpectrumGrid = static()


@with_own_switches
def pulse_groups(spectrum: Spectrum | Moments, groups: int = 40) -> PulseGroups:
    """Mean centred pulse, drop and sharpness of groups of events by learning time.

    Groups hold equally many events: a time bin that lies across a border is split in proportion.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        groups: number of groups.

    Returns:
        `PulseGroups`.

    Raises:
        ValueError: fewer than one group.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, pulse_groups
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> pulse_groups(spectrum, 4).drop.round().tolist()
        [6.0, 6.0, 6.0, 6.0]
    """
    if groups < 1:
        raise ValueError(f"groups: got {groups}, expected at least 1")
    return _pulse_groups(moments_of(spectrum), groups)


@compiled(static_argnums=1)
def _pulse_groups(moments: Moments, groups: int) -> PulseGroups:
    xp = module_of(moments.count)
    grid = moments.grid
    borders, fraction, per_event = equal_groups(moments, groups)
    count, square = (xp.sum(cells, 0)[grid.inside] for cells in (moments.count, moments.square))
    drop = (moments.drop[0] - moments.drop[1])[grid.inside]

    def mean(cells):  # by group and sharpness
        return product(fraction, cells) * per_event[:, None]

    table = xp.asarray(pulse_table(grid) / grid.width, xp.float32)
    # Relative to the window's start and width, so that float32 keeps the digits of second moments.
    times = xp.asarray((grid.centres - grid.origin) / grid.unit, xp.float32)
    logs = xp.asarray(np.log(grid.sharpnesses * grid.unit), xp.float32)
    mean_drop = xp.sum(mean(drop), 1)
    weights = mean(count)
    mean_log = product(weights, logs)
    return PulseGroups(
        start=grid.origin + grid.unit * borders[:-1],
        u=grid.origin + grid.unit * product(fraction, xp.sum(count, 1) * times) * per_event,
        end=grid.origin + grid.unit * borders[1:],
        events=xp.nan_to_num(1 / per_event),
        pulse=product(mean(drop), table),
        drop=mean_drop,
        drop_std=xp.sqrt(xp.maximum(xp.sum(mean(square), 1) - mean_drop**2, 0)),
        log_sharpness=mean_log - float(np.log(grid.unit)),
        log_sharpness_std=xp.sqrt(xp.sum(weights * xp.square(logs - mean_log[:, None]), 1)),
        grid=grid,
    )


def equal_groups(moments: Moments, groups: int):
    """Borders of the groups in windows, the fraction of each time bin in each group, and 1 / events of a group."""
    xp = module_of(moments.count)
    grid = moments.grid
    count = xp.sum(moments.count[:, grid.inside], (0, 2))
    reached = xp.append(0, xp.cumsum(count))
    total = reached[-1]
    levels = total * xp.arange(groups + 1) / groups
    overlap = xp.minimum(reached[1:], levels[1:, None]) - xp.maximum(reached[:-1], levels[:-1, None])
    fraction = xp.where(count > 0, xp.maximum(overlap, 0) / xp.maximum(count, 1e-30), 0)
    borders = level_reached(count, levels) / grid.time_bins
    borders = xp.where(total > 0, borders, xp.nan)
    events = product(fraction, count)
    return borders, fraction, xp.where(events > 0, 1 / xp.maximum(events, 1e-30), xp.nan)
