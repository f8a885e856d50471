"""What the tokens not yet learned will still bring: the mean loss beyond the last checkpoint."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..pytrees import pytree
from .bootstrap import Bands
from .decomposition import moments_of
from .derivative import derivative_matrix
from .grid import SpectrumGrid
from .pulses import convolve, fraction_before, product, pulse_table, spread
from .statistic import Moments, Spectrum
from .tail.fit import Tail, cuts_of, fit_cut_tail
from .tail.masses import Cuts

#: Longest forecast, in windows of the fitted coordinate.
_FARTHEST = 8


@pytree
class SpectrumForecast:
    """Mean loss after the last checkpoint; NaN where the spectrum has no tail to continue, or one whose law says < 0.

    Attributes:
        time: (points,) axis values.
        loss: ``last mean loss - scale·(unfolding + to_come)``, nat.
        unfolding: what events inside the window still bring by then, nat.
        to_come: what events after the last checkpoint bring by then, nat.
        scale: observed over modelled -dL/du at the last checkpoint; 1 if not anchored.
        tail: the power law that was continued, weighted by drop.
    """

    time: Float[Array, " points"]
    loss: Float[Array, " points"]
    unfolding: Float[Array, " points"]
    to_come: Float[Array, " points"]
    scale: Float[Array, ""]
    tail: Tail


@with_own_switches
def forecast(
    spectrum: Spectrum | Moments,
    time: Float[Array, " checkpoints"],
    mean_loss: Float[Array, " checkpoints"],
    until: Float[Array, " points"],
    *,
    lower: float | None = None,
    upper: float | None = None,
    seen: float = 0.7,
    least_events: int = 50,
    anchored: bool = True,
    bandwidth: float = 0.2,
) -> SpectrumForecast:
    """Continue the tail of the spectrum beyond the last checkpoint and let its pulses unfold.

    ``-dL/du = Σ pulses of the events inside the window + (rate * g)(u)`` for u after the last checkpoint: the rate
    of drops continues the power law of `fit_tail`, less the fraction of rising losses in the tail, and g is the mean
    pulse of falling losses. Events that were fitted after the last checkpoint are part of that rate and do not enter
    by themselves. Bands: `bands` of a function that calls this one, which see what other
    sequences would change; `widened` adds what forecasts from earlier checkpoints of the run missed.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        time: (checkpoints,) axis values of the data that the spectrum was made from.
        mean_loss: (checkpoints,) their mean loss, nat; the forecast starts from the last.
        until: (points,) axis values after the last checkpoint at which the loss is wanted, increasing.
        lower, upper, seen, least_events: the tail, see `fit_tail`; it ends earlier here, since what is missing near
            the end of the data is continued with it.
        anchored: multiply the fall by the ratio of the observed to the modelled slope at the last checkpoint. Fits
            see only a part of the fall near the end of the data; this takes the same part to be missing beyond.
        bandwidth: of the observed slope, as a fraction of the window; see `derivative_matrix`.

    Returns:
        `SpectrumForecast`.

    Raises:
        ValueError: ``until`` is not after the last checkpoint, does not increase, or lies more than 8 windows beyond;
            shapes disagree; or as `fit_tail`.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, forecast
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> centres = jnp.geomspace(1.0, 1e5, 64)[:, None]  # a fifth of all drops in each decade
        >>> losses = 1.0 + 6.0 / (1.0 + (step / centres) ** 4)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> ahead = forecast(spectrum, step, losses.mean(0), [1e4], least_events=10)
        >>> round(float(losses.mean(0)[-1] - ahead.loss[0]), 1)
        1.2
    """
    moments = moments_of(spectrum)
    grid, mean_loss = moments.grid, jnp.asarray(mean_loss)
    axis, ahead = _checked(grid, time, mean_loss, until)
    used = np.flatnonzero(axis >= grid.first * (1 - 1e-6))
    slope = None
    if anchored:
        slope = -derivative_matrix(grid.coordinate(axis[used]), grid.edges[-1:], bandwidth * grid.unit)[0]
    cuts = cuts_of(grid, lower, upper, seen, least_events)
    bins = max(1, int(np.ceil(ahead[-1] - 1e-6)))
    result = _forecast(moments, mean_loss[used], slope, ahead, cuts, bins)
    return dataclasses.replace(result, time=jnp.asarray(until, jnp.float32))


def _checked(grid: SpectrumGrid, time, mean_loss, until) -> tuple[np.ndarray, np.ndarray]:
    """Axis values of the checkpoints, and how many bins after the last one the loss is wanted."""
    axis, until = np.asarray(time, np.float64), np.asarray(until, np.float64)
    if axis.shape != mean_loss.shape or axis.ndim != 1:
        raise ValueError(
            f"mean_loss: got shape {mean_loss.shape} with time of shape {axis.shape}, expected one value a checkpoint"
        )
    if abs(axis[-1] - grid.last) > 1e-6 * (grid.last - grid.first):
        raise ValueError(
            f"time: got {axis[-1]:g} as last checkpoint, expected that of the spectrum's window, {grid.last:g}"
        )
    if until.ndim != 1 or not len(until) or not until[0] >= grid.last or not np.all(np.diff(until) > 0):
        raise ValueError(f"until: expected increasing axis values after the last checkpoint, {grid.last:g}")
    ahead = (grid.coordinate(until) - grid.edges[-1]) / grid.width
    if not ahead[-1] <= _FARTHEST * grid.time_bins:
        raise ValueError(
            f"until: got {until[-1]:g}, {ahead[-1] / grid.time_bins:.3g} windows of the fitted coordinate beyond the "
            f"last checkpoint; expected at most {_FARTHEST}"
        )
    return axis, ahead


@functools.partial(jax.jit, static_argnums=5)
def _forecast(moments: Moments, mean_loss, slope, place, cuts: Cuts, bins: int) -> SpectrumForecast:
    tail = fit_cut_tail(moments, cuts, "drop")
    unfolding, to_come = _falls(moments, tail, bins)
    scale = jnp.ones(())
    if slope is not None:
        values = mean_loss - jnp.mean(mean_loss)
        observed = moments.grid.width * product(slope, values)
        modelled = unfolding[0] + to_come[0]
        scale = jnp.where(modelled > 0, jnp.maximum(observed, 0) / jnp.where(modelled > 0, modelled, 1), jnp.nan)

    def fallen(drops):
        return product(fraction_before(place, bins), drops)

    unfolding, to_come = fallen(unfolding), fallen(to_come)
    # A tail too short or too near the end of the data can seem to rise without end: that is no forecast.
    loss = mean_loss[-1] - scale * (unfolding + to_come)
    return SpectrumForecast(place, jnp.where(loss >= 0, loss, jnp.nan), unfolding, to_come, scale, tail)


def _falls(moments: Moments, tail: Tail, bins: int) -> tuple[Float[Array, " bins"], Float[Array, " bins"]]:
    """What falls in each bin after the window, nat per token: from events inside it, and from those after it."""
    grid = moments.grid
    net = (moments.drop[0] - moments.drop[1])[grid.inside]
    seen = moments.per_token * spread(grid, net, bins)[grid.time_bins :]
    by_sharpness = jnp.sum(moments.drop[0, grid.inside], 0)
    table = jnp.asarray(pulse_table(grid, bins), jnp.float32)
    pulse = product(by_sharpness, table) / jnp.maximum(jnp.sum(by_sharpness), 1e-30)
    # One window more: events after the forecast's end have begun to fall before it.
    rate = _rate_after(grid, tail, bins + grid.time_bins) * _net_fraction(moments, tail)
    return seen, convolve(rate, pulse)[:bins]


def _rate_after(grid: SpectrumGrid, tail: Tail, bins: int) -> Float[Array, " bins"]:
    """Drops in each bin after the window by the tail's law, nat per token."""
    u = grid.edges[-1] + grid.width * np.arange(bins + 1)
    log_a = jnp.asarray(np.log(grid.axis(u) / grid.last), jnp.float32)  # from the window's end: small numbers

    def integral(start, end):  # of a^-exponent, up to a constant; a difference of powers or, at exponent 1, of logs
        power = 1 - tail.exponent
        near = jnp.abs(power * (end - start)) < 1e-4
        safe = jnp.where(jnp.abs(power) < 1e-30, 1, power)
        return jnp.where(near, end - start, jnp.expm1(power * (end - start)) / safe) * jnp.exp(power * start)

    within = integral(jnp.log(tail.lower / grid.last), jnp.log(tail.upper / grid.last))
    return tail.mass * integral(log_a[:-1], log_a[1:]) / within


def _net_fraction(moments: Moments, tail: Tail) -> Float[Array, ""]:
    """(falling - rising drops) / falling drops in the tail."""
    middle = jnp.asarray(moments.grid.axis(moments.grid.centres), jnp.float32)
    inside = (middle > tail.lower) & (middle < tail.upper)
    falls, rises = jnp.sum(jnp.where(inside[:, None], moments.drop[:, moments.grid.inside], 0), (1, 2))
    return jnp.where(falls > 0, 1 - rises / jnp.maximum(falls, 1e-30), jnp.nan)


def widened(bands: Bands, start: Array, errors: np.ndarray, level: float = 0.9) -> Bands:
    """Bands of forecast losses that also hold what other sequences cannot show: noise of training, a wrong law.

    The errors of forecasts from earlier checkpoints of the same run say how large it is, as a fraction of the fall:
    ``t·rms(errors)·|value - start|``, with Student's t, added in quadrature to both sides of the band.

    Args:
        bands: of losses (points,), nat; see `bands`.
        start: the loss where the forecast starts, nat.
        errors: (origins,) of earlier forecasts at their ends: (forecast - what came) / forecast fall.
        level: of the bands.

    Raises:
        ValueError: no errors, or some are not finite.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.spectrum import Bands, widened
        >>> narrow = Bands(*(np.array([one]) for one in (3.8, 3.7, 3.9)))
        >>> [round(float(end[0]), 2) for end in (widened(narrow, 4.0, np.array([0.1, -0.2])).low, narrow.low)]
        [3.66, 3.7]
    """
    from scipy.special import stdtrit

    errors = np.asarray(errors, np.float64)
    if errors.ndim != 1 or not len(errors) or not np.isfinite(errors).all():
        raise ValueError(f"errors: got {errors!r}, expected one finite share for each earlier forecast")
    factor = float(stdtrit(len(errors), (1 + level) / 2)) * float(np.sqrt(np.mean(errors**2)))
    value = np.asarray(bands.value)
    more = factor * np.abs(value - np.asarray(start))
    return Bands(value, value - np.hypot(value - bands.low, more), value + np.hypot(bands.high - value, more))
