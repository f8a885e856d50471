"""How evenly the loss falls over the positions of the context."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...arguments import real_array
from ...fitting.checks import as_known
from ...jax_switches import with_own_switches
from ...linalg.known import algebra_of, computed, module_of, product
from ...pytrees import pytree
from ..clock.training_axis import checked_axis
from ..distributions import f_tail
from .bins import checked_position, log_bins


@pytree
class Evenness:
    """Whether the loss falls equally at all positions, as the position law says beyond the separation point.

    Attributes:
        first: first position of every bin.
        last: last position of every bin.
        slope: of the mean loss in each bin over the axis, nat per axis unit.
        slope_stderr: its standard error, sequences resampled.
        mean_slope: of the mean over all positions.
        mean_slope_stderr: its standard error.
        ratio: ``slope / mean_slope``: 1 everywhere where the loss falls evenly.
        ratio_stderr: its standard error.
        unevenness: how far the ratios lie from 1: the root mean square of their deviation over positions, what noise
            alone would bring taken off; 0 is even.
        statistic: Hotelling's T² of equal slopes.
        p_value: of a T² as large under equal slopes; a small one speaks against evenness.
        trend: slope of the ratio over ln(position): above 0 where late positions gain more.
        trend_stderr: its standard error.
        num_checkpoints: checkpoints within the window.
    """

    first: Float[Array, " bins"]
    last: Float[Array, " bins"]
    slope: Float[Array, " bins"]
    slope_stderr: Float[Array, " bins"]
    mean_slope: Float[Array, ""]
    mean_slope_stderr: Float[Array, ""]
    ratio: Float[Array, " bins"]
    ratio_stderr: Float[Array, " bins"]
    unevenness: Float[Array, ""]
    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    trend: Float[Array, ""]
    trend_stderr: Float[Array, ""]
    num_checkpoints: Int[Array, ""]


@with_own_switches
def evenness(
    axis: Float[Array, " checkpoints"],
    position: Float[Array, " positions"],
    group_mean: Float[Array, "groups checkpoints positions"],
    group_count: Int[Array, "groups checkpoints positions"],
    *,
    start: float = 0.0,
    stop: float | None = None,
    bins: int = 8,
) -> Evenness:
    """Measures and tests ``dL(i)/da = d floor/da``: the loss falls equally at all positions i.

    In each of several log-spaced bins of positions, the slope of the mean loss over the axis by least squares over
    all checkpoints within the window. Checkpoints share their tokens and positions their sequences, so that slopes
    are known far better than losses, and are correlated: their covariance is read off the scatter between groups of
    sequences. Equality of all slopes is tested by Hotelling's T² on their differences.

    Args:
        axis: (checkpoints,) increasing.
        position: (positions,) counted from 1, increasing.
        group_mean: (groups, checkpoints, positions) mean loss of each group of sequences, nat; anything where its
            count is 0. From `tsl_jax.jobs.positions`.
        group_count: (groups, checkpoints, positions) how many losses it is of.
        start: first axis value of the window, such as `Separation.point`.
        stop: last one; ``None``: the end.
        bins: log-spaced bins of positions; there are fewer where positions are few.

    Returns:
        `Evenness`.

    Raises:
        ValueError: fewer than 2 checkpoints within the window; fewer than 2 bins, or too few groups for the bins;
            axis or positions that do not increase; shapes that disagree.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tsl_jax.temporal import evenness
        >>> step, position = jnp.linspace(100.0, 200.0, 5), jnp.arange(1.0, 33.0)
        >>> loss = 3 / (1 + 0.5 * position) - 0.01 * step[:, None]  # falls equally everywhere
        >>> loss = loss + 0.1 * jax.random.normal(jax.random.key(0), (40, 5, 32))
        >>> found = evenness(step, position, loss, jnp.ones_like(loss))
        >>> bool(found.p_value > 0.01), abs(round(float(found.ratio[-1]), 1))
        (True, 1.0)

    Source: the claim is arXiv 2404.17785's; H. Hotelling, Annals of Mathematical Statistics 2 (1931), for T².
    """
    values, places = checked_axis(axis), checked_position(position)
    group_mean, group_count = (
        as_known(real_array(name, each)) for name, each in (("group_mean", group_mean), ("group_count", group_count))
    )
    expected = (len(values), len(places))
    if group_mean.ndim != 3 or group_mean.shape != group_count.shape or group_mean.shape[1:] != expected:
        raise ValueError(
            f"group_mean, group_count: got shapes {group_mean.shape} and {group_count.shape}, expected "
            f"(groups, {expected[0]}, {expected[1]}) twice: groups, checkpoints, positions"
        )
    stop = values[-1] if stop is None else stop
    window = np.flatnonzero((values >= start) & (values <= stop))
    if len(window) < 2:
        raise ValueError(
            f"start, stop: {len(window)} checkpoints lie from {start:g} to {stop:g}, expected at least 2; widen the "
            "window"
        )
    bin_of = log_bins(position, bins)
    number, groups = int(bin_of[-1]) + 1, group_mean.shape[0]
    if number < 2 or groups <= number:
        raise ValueError(
            f"bins: got {number} bins of positions with {groups} groups of sequences, expected at least 2 bins and "
            "more groups than bins; pass fewer bins, or more groups to position_losses"
        )
    centred = values[window] - values[window].mean()
    slope_of = centred / np.sum(centred**2)
    into = np.eye(number)[bin_of]
    dtype = jnp.promote_types(group_mean.dtype, jnp.float32)
    window = slice(window[0], window[-1] + 1)
    arrays = slope_of, into, places, group_mean[:, window], group_count[:, window]
    return computed(_evenness, *arrays, dtype=dtype)


def _evenness(slope_of, into, position, mean, count) -> Evenness:
    xp = module_of(mean)
    dtype = xp.promote_types(mean.dtype, xp.float32)
    slope_of, into, position = (xp.asarray(a, dtype) for a in (slope_of, into, position))
    slopes, influence = _slopes(slope_of, xp.concatenate([into, xp.ones_like(into[:, :1])], axis=1), mean, count)
    slope, mean_slope, groups = slopes[:-1], slopes[-1], len(influence)
    size = len(slope)

    def stderr(influence):
        return xp.sqrt(groups / (groups - 1) * xp.sum(xp.square(influence), axis=0))

    ratio = slope / mean_slope
    of_ratio = (influence[:, :-1] - ratio * influence[:, -1:]) / mean_slope
    ratio_stderr = stderr(of_ratio)
    fraction = xp.sum(into, axis=0) / len(into)
    beyond_noise = xp.sum(fraction * (xp.square(ratio - 1) - xp.square(ratio_stderr)))
    at = xp.log(position) @ into / xp.sum(into, axis=0)
    lever = fraction * (at - xp.sum(fraction * at))
    lever = lever / xp.sum(lever * at)
    statistic = _hotelling(xp.diff(slope), xp.diff(influence[:, :-1], axis=1))
    above, below = size - 1, groups - size + 1
    return Evenness(
        first=xp.min(xp.where(into > 0, position[:, None], xp.inf), axis=0),
        last=xp.max(position[:, None] * into, axis=0),
        slope=slope,
        slope_stderr=stderr(influence[:, :-1]),
        mean_slope=mean_slope,
        mean_slope_stderr=stderr(influence[:, -1]),
        ratio=ratio,
        ratio_stderr=ratio_stderr,
        unevenness=xp.sqrt(xp.maximum(beyond_noise, 0)),
        statistic=statistic,
        p_value=f_tail(statistic * below / (above * (groups - 1)), above, below),
        trend=xp.sum(lever * ratio),
        trend_stderr=stderr(of_ratio @ lever),
        num_checkpoints=xp.asarray(len(slope_of)),
    )


def _slopes(slope_of, into, mean, count):
    """Slopes (bins,) of the pooled means, and each group's influence (groups, bins) on them, which add up to 0."""
    xp = module_of(mean)
    count = xp.where(xp.isfinite(mean), count, 0).astype(slope_of.dtype)
    mean = xp.where(count > 0, mean, 0)
    counts, sums = (product("gcp,pb->gcb", each, into) for each in (count, count * mean))
    total = xp.sum(counts, axis=0)
    pooled = xp.sum(sums, axis=0) / total
    per_group = sums - counts * pooled
    return slope_of @ pooled, product("c,gcb->gb", slope_of, per_group / total)


def _hotelling(differences, influence):
    """T² of differences that should be 0, from each group's influence on them."""
    xp = module_of(influence)
    groups = len(influence)
    scale = xp.sqrt(groups / (groups - 1) * xp.sum(xp.square(influence), axis=0))
    correlation = groups / (groups - 1) * product("gb,gc->bc", influence / scale, influence / scale)
    standardised = differences / scale
    return standardised @ algebra_of(correlation).solve(correlation, standardised)
