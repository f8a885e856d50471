"""The position law, fitted at every checkpoint at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ...arguments import is_traced, real_array
from ...curves import Hyperbola, jax_array
from ...fitting import Fit, Status, fit
from ...fitting.checks import as_known, checked_losses
from ...fitting.few_sizes import device_of, in_few_sizes
from ...fitting.interface import flat_rows
from ...fitting.options import FitOptions
from ...fitting.scaling import normalised
from ...jax_switches import with_own_switches
from ...linalg.known import computed, matmul, module_of, triangle_inverses
from ...pytrees import pytree
from .bins import binned_r2, checked_position, log_bins, sum_of_squares, weighted_mean

_LAW = Hyperbola()
#: Checkpoints of one call: one program for those of a run and for all its replicates.
_AT_ONCE = 512


@pytree
class PositionLaw:
    """Hyperbolas over positions, one a checkpoint; every array begins with the axes ``(*runs, checkpoints)``.

    Errors and chi-square take the errors of the position means as independent between positions. What all positions
    of a sequence share (an easy or a hard text) moves only the floor, whose error is then too small: see
    `resample_position_law`.

    Attributes:
        params: `amplitude` (nat), `rate` (1/position), `floor` (nat); NaN where `status` says there is no fit.
        stderr: their standard errors; NaN for a rate on its bound, the others' being then given that value.
        covariance: (..., 3, 3) of amplitude, rate and floor, in that order; NaN as in `stderr`.
        r2: ``1 - rss / (sum of squares around the mean)``, both weighted by 1/stderr².
        r2_ceiling: the `r2` to expect of the right law, ``1 - (n - 3) / (sum of squares around the mean)`` and at
            least 0: noise keeps it from 1. NaN if no standard errors were given.
        r2_binned: R² of the same curves with positions pooled in log-spaced bins, every bin counted alike.
        chi2_reduced: ``rss / (n - 3)``, near 1 if law and standard errors are right. NaN if none were given.
        num_points: n, positions with a mean.
        status: `Status`, one small integer a checkpoint.
    """

    params: dict[str, Float[Array, "*curves"]]
    stderr: dict[str, Float[Array, "*curves"]]
    covariance: Float[Array, "*curves 3 3"]
    r2: Float[Array, "*curves"]
    r2_ceiling: Float[Array, "*curves"]
    r2_binned: Float[Array, "*curves"]
    chi2_reduced: Float[Array, "*curves"]
    num_points: Int[Array, "*curves"]
    status: UInt8[Array, "*curves"]

    @with_own_switches
    def predict(self, position: Float[Array, " positions"]) -> Float[Array, "*curves positions"]:
        """Fitted mean losses at ``position`` (from 1), nat."""
        return _curve(jax_array(position), self.params)

    @with_own_switches
    def coordinates(self) -> tuple[Float[Array, "*curves 2"], Float[Array, "*curves 2 2"]]:
        """``(amplitude/(1 + rate), rate/(1 + rate))`` and their covariance, by the delta method.

        The first is the loss at the first position above the floor. Where most of the drop is over there, amplitude and
        rate are hardly determined apart, with errors far from normal; these two are, and for slow rates they are
        nearly amplitude and rate themselves.
        """
        amplitude, rate = self.params["amplitude"], self.params["rate"]
        return computed(_coordinates, amplitude, rate, self.covariance, dtype=rate.dtype)


def _coordinates(amplitude, rate, covariance):
    xp = module_of(rate)
    shape = 1 / (1 + rate)
    by_amplitude = xp.stack([shape, xp.zeros_like(rate)], axis=-1)
    by_rate = xp.stack([-amplitude * shape**2, shape**2], axis=-1)
    slopes = xp.stack([by_amplitude, by_rate], axis=-1)
    covariance = matmul(matmul(slopes, covariance[..., :2, :2]), xp.swapaxes(slopes, -1, -2))
    return xp.stack([amplitude * shape, rate * shape], axis=-1), covariance


@with_own_switches
def position_law(
    position: Float[Array, " positions"],
    mean: Float[Array, "*curves positions"],
    stderr: Float[Array, "*curves positions"] | None = None,
    *,
    bins: int = 12,
    options: FitOptions = FitOptions(),
) -> PositionLaw:
    """Fits ``L(i) = amplitude / (1 + rate·i) + floor`` to the mean loss per position of every checkpoint.

    Weighted by 1/stderr². Pure: works under `jit` and `vmap` in ``mean`` and ``stderr``.

    Args:
        position: (positions,) places in the context, counted from 1, increasing.
        mean: (\\*runs, checkpoints, positions) mean loss, nat; NaN = not measured.
        stderr: the standard errors of ``mean``, same shape or one that broadcasts to it; a position where it is NaN
            is left out. ``None``: all positions count alike, and the scatter around the curve tells their error.
        bins: log-spaced bins of positions in `PositionLaw.r2_binned`.
        options: of the engine, see `tsl_jax.FitOptions`.

    Returns:
        `PositionLaw`, its arrays of shape (\\*runs, checkpoints).

    Raises:
        ValueError: positions that do not increase from 1; fewer than 4; shapes that disagree; standard errors of 0 or
            below (where they are known; else the status is `Status.NON_FINITE`).
        TypeError: ``mean`` is no array of floating-point numbers, or another argument of another type.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.temporal import position_law
        >>> position = jnp.arange(1.0, 65.0)
        >>> amplitude = jnp.array([[3.0], [2.0], [2.0]])  # at three checkpoints
        >>> law = position_law(position, amplitude / (1 + 0.2 * position) + 4.0)
        >>> law.params["amplitude"].round(2).tolist()
        [3.0, 2.0, 2.0]

    Source: arXiv 2404.17785.
    """
    device = device_of(mean)
    places, mean = checked_position(position), checked_losses(mean, "mean")
    if mean.shape[-1:] != places.shape:
        raise ValueError(
            f"mean: got shape {mean.shape} with {len(places)} positions, expected (..., checkpoints, positions); "
            "transpose it if positions come first"
        )
    bin_of = log_bins(position, bins)
    errors = _errors(mean, stderr, jnp.promote_types(mean.dtype, jnp.float32))
    absolute, into_bins = stderr is not None, np.eye(bin_of[-1] + 1)[bin_of]

    at = jnp.asarray(places)

    def law(mean, errors):
        dtype = jnp.promote_types(mean.dtype, errors.dtype)
        mean, weights, scale = _within_range(absolute, mean, errors)
        found = fit(_LAW, at, mean, weights, options=options)
        return computed(_described, found, places, into_bins, mean, weights, scale, dtype=dtype, absolute=absolute)

    return in_few_sizes(
        law, flat_rows(mean, errors), shape=mean.shape[:-1], fewest=_AT_ONCE, most=_AT_ONCE, device=device
    )


def _errors(mean, stderr, dtype):
    """The standard error of every mean; 1 where none are given."""
    if stderr is None:
        return np.ones(mean.shape, dtype) if isinstance(mean, np.ndarray) else jnp.ones(mean.shape, dtype)
    stderr = as_known(real_array("stderr", stderr), dtype)
    try:
        fits = np.broadcast_shapes(stderr.shape, mean.shape) == mean.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"stderr: got shape {stderr.shape}, expected that of mean, {mean.shape}")
    if is_traced(stderr) or not isinstance(stderr, np.ndarray):
        return jnp.broadcast_to(stderr, mean.shape)
    if np.any(stderr <= 0):
        raise ValueError(
            f"stderr: got {stderr[stderr <= 0].flat[0]}, expected positive standard errors; give NaN where there is "
            "none, or leave them out"
        )
    return np.broadcast_to(stderr, mean.shape)


@functools.partial(jax.jit, static_argnums=0)
def _within_range(absolute: bool, mean, errors):
    """Means, times a power of two where squares of theirs are no numbers; their weights; that power of each curve.

    Weights are ``1/error²`` in that unit, or all 1; negative, as no weight may be, where the error is.
    """
    counts = jnp.isfinite(mean) & ~jnp.isnan(errors)
    scale = normalised(jnp.max(jnp.where(counts, jnp.abs(mean), 0), axis=-1, initial=0).astype(errors.dtype))
    by = scale[..., None]
    weights = jnp.where(errors < 0, -1, 1) / jnp.square(errors * by) if absolute else errors
    return mean * by.astype(mean.dtype), weights, scale


def _described(found: Fit, position, into_bins, mean, weights, scale, absolute: bool) -> PositionLaw:
    """What is said about the engine's fits; where weights are not absolute, the scatter tells the errors.

    Args:
        found: of ``mean``.
        position: (positions,).
        into_bins: (positions, bins) which is in which.
        mean: losses times ``scale``.
        weights: of ``mean``.
        scale: of each curve, which is taken out of what is said.
        absolute: whether weights are inverse variances.
    """
    xp = module_of(mean)
    weights, free = xp.where(xp.isfinite(mean) & xp.isfinite(weights), weights, 0), found.num_points - 3
    position, into_bins = (xp.asarray(a, weights.dtype) for a in (position, into_bins))
    amplitude, rate, floor = (found.params[name][..., None] for name in _LAW.names)
    curve = amplitude / (1 + rate * position) + floor
    variance = xp.ones_like(found.rss) if absolute else found.rss / xp.maximum(free, 1)
    covariance = variance[..., None, None] * _covariance(position, found, weights)
    unit = xp.stack([1 / scale if name != "rate" else xp.ones_like(scale) for name in _LAW.names], axis=-1)
    stderr = unit * xp.sqrt(xp.diagonal(covariance, axis1=-2, axis2=-1))
    covariance = unit[..., None] * covariance * unit[..., None, :]
    around_mean = sum_of_squares(mean, weighted_mean(mean, weights), weights)
    ceiling = xp.where(xp.isfinite(found.rss), xp.maximum(1 - free / around_mean, 0), xp.nan)
    unknown = xp.full_like(found.rss, xp.nan)
    return PositionLaw(
        params={name: found.params[name] * unit[..., k] for k, name in enumerate(_LAW.names)},
        stderr={name: _finite(stderr[..., k]) for k, name in enumerate(_LAW.names)},
        covariance=_finite(covariance),
        r2=found.r2,
        r2_ceiling=ceiling if absolute else unknown,
        r2_binned=binned_r2(into_bins, mean, curve, weights),
        chi2_reduced=found.rss / free if absolute else unknown,
        num_points=found.num_points,
        status=found.status,
    )


def _finite(values):
    xp, most = module_of(values), np.finfo(np.float32).max  # what float32 cannot hold is infinite there
    return xp.where(xp.abs(values) <= most, values, xp.nan)


def _curve(position, params):
    return _LAW.curve(position.astype(params["floor"].dtype), {name: p[..., None] for name, p in params.items()})


def _covariance(position, found: Fit, weights) -> Float[Array, "*curves 3 3"]:
    """``(J'WJ)^-1`` by the triangle of the scaled Jacobian, which keeps float32's digits.

    NaN for the parameters that have no error in the engine's fit; those on a bound are held there.
    """
    xp = module_of(weights)
    amplitude, rate = found.params["amplitude"][..., None], found.params["rate"][..., None]
    shape = 1 / (1 + rate * position)
    columns = xp.stack([shape, -amplitude * position * xp.square(shape), xp.ones_like(shape)], axis=-1)
    unknown = xp.stack([xp.isnan(found.stderr[name]) for name in _LAW.names], axis=-1)
    held = (unknown & (found.status == Status.AT_BOUND)[..., None]) | xp.all(unknown, axis=-1, keepdims=True)
    columns = xp.where(held[..., None, :], 0, xp.sqrt(weights)[..., None] * columns)
    norms = xp.linalg.norm(columns, axis=-2)
    norms = xp.where(norms > 0, norms, 1)
    # A held parameter gets a row of its own, so that the triangle can be inverted.
    own_rows = xp.where(held[..., None], xp.eye(3, dtype=columns.dtype), 0)
    rows = xp.concatenate([columns / norms[..., None, :], own_rows], axis=-2)
    inverse = triangle_inverses(rows) / norms[..., None]
    covariance = matmul(inverse, xp.swapaxes(inverse, -1, -2))
    return xp.where(unknown[..., None] | unknown[..., None, :], xp.nan, covariance)
