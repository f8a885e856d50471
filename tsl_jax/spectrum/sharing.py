"""Is the pulse shared? Mean pulses of groups by learning time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
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


@functools.partial(jax.jit, static_argnums=1)
def _pulse_groups(moments: Moments, groups: int) -> PulseGroups:
    grid = moments.grid
    borders, fraction, per_event = equal_groups(moments, groups)
    count, square = (jnp.sum(cells, 0)[grid.inside] for cells in (moments.count, moments.square))
    drop = (moments.drop[0] - moments.drop[1])[grid.inside]

    def mean(cells):  # by group and sharpness
        return product(fraction, cells) * per_event[:, None]

    table = jnp.asarray(pulse_table(grid) / grid.width, jnp.float32)
    # Relative to the window's start and width, so that float32 keeps the digits of second moments.
    times = jnp.asarray((grid.centres - grid.origin) / grid.unit, jnp.float32)
    logs = jnp.asarray(np.log(grid.sharpnesses * grid.unit), jnp.float32)
    mean_drop = jnp.sum(mean(drop), 1)
    weights = mean(count)
    mean_log = product(weights, logs)
    return PulseGroups(
        start=grid.origin + grid.unit * borders[:-1],
        u=grid.origin + grid.unit * product(fraction, jnp.sum(count, 1) * times) * per_event,
        end=grid.origin + grid.unit * borders[1:],
        events=jnp.nan_to_num(1 / per_event),
        pulse=product(mean(drop), table),
        drop=mean_drop,
        drop_std=jnp.sqrt(jnp.maximum(jnp.sum(mean(square), 1) - mean_drop**2, 0)),
        log_sharpness=mean_log - float(np.log(grid.unit)),
        log_sharpness_std=jnp.sqrt(jnp.sum(weights * jnp.square(logs - mean_log[:, None]), 1)),
        grid=grid,
    )


def equal_groups(moments: Moments, groups: int):
    """Borders of the groups in windows, the fraction of each time bin in each group, and 1 / events of a group."""
    grid = moments.grid
    count = jnp.sum(moments.count[:, grid.inside], (0, 2))
    reached = jnp.append(0, jnp.cumsum(count))
    total = reached[-1]
    levels = total * jnp.arange(groups + 1) / groups
    overlap = jnp.minimum(reached[1:], levels[1:, None]) - jnp.maximum(reached[:-1], levels[:-1, None])
    fraction = jnp.where(count > 0, jnp.clip(overlap, 0) / jnp.maximum(count, 1e-30), 0)
    borders = level_reached(count, levels) / grid.time_bins
    borders = jnp.where(total > 0, borders, jnp.nan)
    events = product(fraction, count)
    return borders, fraction, jnp.where(events > 0, 1 / jnp.maximum(events, 1e-30), jnp.nan)
