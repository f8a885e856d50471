"""The mean loss that a spectrum implies, and how far binning can move it."""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.known import compiled, module_of
from ..pytrees import pytree
from .decomposition import implied_drops, moments_of
from .grid import SpectrumGrid
from .pulses import fraction_before, logistic, product, seen_of_late
from .statistic import Moments, Spectrum


@with_own_switches
def implied_loss(spectrum: Spectrum | Moments, time: Float[Array, " times"]) -> Float[Array, " times"]:
    """Mean of all curves and constants that count: ``L(u) = L(u_last) + ∫_u^{u_last} -dL/du``, nat.

    Exact at the edges of the bins but for the binning of events, linear between them.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        time: (times,) axis values inside the window; outside it the value at the nearer edge is given.

    Returns:
        (times,) nat; 0 for a spectrum without tokens.

    Raises:
        ValueError: times are not finite, or not positive on a log scale.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, implied_loss
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> bool(jnp.allclose(implied_loss(spectrum, step), losses.mean(0), atol=1e-2))
        True
    """
    moments = moments_of(spectrum)
    grid = moments.grid
    axis = np.asarray(time, np.float64)
    if not np.all(np.isfinite(axis)) or (grid.scale == "log" and np.any(axis <= 0)):
        raise ValueError(f"time: got {time!r}, expected finite axis values, positive on a log scale")
    return _implied_loss(moments, (grid.coordinate(axis) - grid.origin) / grid.width)


@jax.jit
def _implied_loss(moments: Moments, place):
    return loss_along(moments, implied_drops(moments), place)


def loss_along(
    moments: Moments, drops: Float[Array, " times"], place: Float[Array, " points"]
) -> Float[Array, " points"]:
    """Mean loss that falls by these drops bin by bin and ends at the spectrum's own last value.

    Args:
        moments: for the last value and the bins.
        drops: (time_bins,) nat per token.
        place: (points,) where the loss is wanted, in bins from the window's first edge.
    """
    # As a product: the same as interpolating the sums at the bins' edges, and far quicker to compile.
    return moments.level * moments.per_token + product(1 - fraction_before(place, moments.grid.time_bins), drops)


@pytree
class BinningBound:
    """What binning changes at most, wherever within their bins the events are; see `binning_bound`.

    Attributes:
        loss: greatest possible error of `implied_loss` (nat).
        slope: greatest possible ``∫|error of -dL/du| du`` relative to the sum of all visible drops.
    """

    loss: Float[Array, ""]
    slope: Float[Array, ""]


@with_own_switches
def binning_bound(spectrum: Spectrum | Moments) -> BinningBound:
    """A bound on the error of the implied mean loss and derivative from binning, by the triangle inequality.

    An event inside the window moves by at most half a bin, which changes its pulse by ``∫|Δq| ≤ 2·tanh(s·h/8)``, and
    its pulse is interpolated between two sharpnesses; what is seen of an event outside likewise, as
    tabulated for its cell. The errors of single events mostly cancel: what is measured
    (`Comparison.split`) is far smaller.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, binning_bound
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> float(binning_bound(spectrum).slope) < 0.02
        True
    """
    return _binning_bound(moments_of(spectrum))


@compiled()
def _binning_bound(moments: Moments) -> BinningBound:
    xp = module_of(moments.count)
    grid, drops = moments.grid, xp.sum(moments.drop, 0)
    before, after = drops[: grid.inside.start][::-1], drops[grid.inside.stop :]
    most = xp.sum(xp.sum(drops[grid.inside], 0) * _change_inside(grid)) + xp.sum(
        (before + after) * _change_outside(grid)
    )
    total = xp.sum(drops)
    return BinningBound(loss=moments.per_token * most, slope=xp.where(total > 0, most / xp.maximum(total, 1e-30), 0))


@functools.lru_cache(maxsize=16)
def _change_inside(grid: SpectrumGrid) -> np.ndarray:
    # The drops of a cell come from both sides of its sharpness, up to the next one; the last takes all steeper ones.
    shifted = np.tanh(np.append(grid.sharpnesses[1:], np.inf) * grid.width / 8)
    z, ratio = np.linspace(-40, 40, 4001), np.exp(grid.sharpness_ratio)
    between = max(
        _variation(z, ratio**fraction, [(1 - fraction, 1), (fraction, ratio)]) for fraction in np.linspace(0, 1, 11)
    )
    change = 2 * shifted + between
    change[0] += _variation(z, ratio**-0.5, [(1, 1)])  # the flattest curves lie below the first sharpness
    return np.minimum(2, change).astype(np.float32)


def _variation(z, steepness, mixture):
    """``∫|q_steepness - Σ share·q_other|`` of unit pulses centred at 0."""
    curve = logistic(steepness * z) - sum(fraction * logistic(other * z) for fraction, other in mixture)
    return float(np.sum(np.abs(np.diff(curve))))


@functools.lru_cache(maxsize=16)
def _change_outside(grid: SpectrumGrid) -> np.ndarray:
    steepness, distance = grid.sharpnesses, grid.distances[:, None]
    middle = seen_of_late(grid, steepness, distance)
    borders = grid.distance_edges.copy()
    borders[-1] *= 100  # the last bin takes all beyond
    moved = np.maximum(
        *(np.abs(seen_of_late(grid, steepness, side[:, None]) - middle).sum(-1) for side in (borders[:-1], borders[1:]))
    )
    low, high = middle[:, :-1], middle[:, 1:]
    between = np.zeros(moved.shape)
    for fraction in np.linspace(0, 1, 11):
        true = seen_of_late(grid, steepness[:-1] ** (1 - fraction) * steepness[1:] ** fraction, distance)
        change = np.abs(true - (1 - fraction) * low - fraction * high).sum(-1)
        between[:, :-1] = np.maximum(between[:, :-1], change)
    either = np.maximum(between, np.roll(between, 1, axis=1))
    return np.minimum(2, moved + either).astype(np.float32)
