"""Posterior of one law of the mean loss on a grid of its nonlinear parameters; the others in closed form."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...linalg.small import triangle, upper_inverse, whiten

#: Grid of the exponent, of the noise's size (nat), of its correlation from row to row, and of the drift of the slope
#: (nat per e-fold, over the square root of an e-fold), relative to the noise.
EXPONENTS = np.geomspace(0.1, 1.5, 14)
NOISES = np.geomspace(3e-4, 3e-2, 6)
CORRELATIONS = np.array([0.0, 0.85])
DRIFTS = np.array([0.3, 3.0, 30.0, 300.0])
#: How fast the early transient dies: exponent over the law's clock.
_TRANSIENT = 2.0
#: Columns: level, slope, transient, response.
COLUMNS = 4


class PriorNumbers(NamedTuple):
    """What is taken for likely before any loss was seen; see `tsl_jax.temporal.ForecastPrior`."""

    exponent: Float[Array, ""]
    exponent_std: Float[Array, ""]
    gain: Float[Array, ""]
    gain_std: Float[Array, ""]
    transient: Float[Array, ""]
    drift: Float[Array, ""]
    drift_std: Float[Array, ""]
    noise: Float[Array, ""]
    noise_std: Float[Array, ""]


class Rows(NamedTuple):
    """Times of losses as one law, or several stacked, sees them; NumPy or JAX arrays.

    Attributes:
        log_clock: (*laws, rows) logarithm of the law's clock.
        response: (*laws, kernels, rows) what each kernel says that falls of the rate have brought.
        log_kernel: (*laws, kernels) logarithm of the kernels' prior weights.
    """

    log_clock: Any
    response: Any
    log_kernel: Any


class Posterior(NamedTuple):
    """Weights of the grid and, at each of its points, a normal distribution of the coefficients.

    Grid axes: drift, correlation, exponent, kernel, noise.
    """

    log_weight: Float[Array, "drifts correlations exponents kernels noises"]
    log_evidence: Float[Array, ""]
    mean: Float[Array, "drifts correlations exponents kernels noises columns"]
    factor: Float[Array, "drifts correlations exponents kernels noises columns columns"]
    origin: Float[Array, ""]
    first: Float[Array, ""]
    anchor: Float[Array, ""]
    at_origin: Float[Array, " kernels"]


def drifted(x: Float[Array, " rows"]) -> Float[Array, "rows rows"]:
    """Covariance of a slope that drifts as Brownian motion away from 0, both ways: ``m² (3M - m)/6``, one side."""
    size = jnp.abs(x)
    least, most = jnp.minimum(size[:, None], size), jnp.maximum(size[:, None], size)
    same = (x[:, None] > 0) == (x > 0)
    return jnp.where(same, least**2 * (3 * most - least) / 6, 0)


def columns_shared(x, first) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
    """Level and early transient; the transient is 0 at the origin and about 1 at the first row."""
    return jnp.ones_like(x), jnp.exp(-_TRANSIENT * (x - first)) - jnp.exp(_TRANSIENT * first)


def columns(exponent, kernel_response, x, first) -> Float[Array, "rows columns"]:
    """Level, falling power law, early transient and response, all 0 at the origin but the level."""
    ones, transient = columns_shared(x, first)
    return jnp.stack([ones, jnp.expm1(-exponent * x) / exponent, transient, -kernel_response], axis=-1)


def posterior(rows: Rows, loss: Float[Array, " rows"], known: Float[Array, " rows"], prior: PriorNumbers) -> Posterior:
    """The law's posterior from the rows where ``known`` is 1 (0 elsewhere).

    ``loss = level + slope·(e^(-α x) - 1)/α + transient - gain·response + drift + noise`` with x the logarithm of the
    clock since the last known row: exact for the four coefficients given α, the kernel and three sizes of noise.
    """
    known = jnp.asarray(known, loss.dtype)
    last = jnp.argmax(jnp.where(known > 0, jnp.arange(len(loss)), -1))
    origin, anchor = rows.log_clock[last], loss[last]
    x = (rows.log_clock - origin) * known
    first = jnp.min(x)
    y = (loss - anchor) * known
    at_origin = rows.response[:, last]
    change = (rows.response - at_origin[:, None]) * known
    exponents, noises = jnp.asarray(EXPONENTS, loss.dtype), jnp.asarray(NOISES, loss.dtype)
    index = jnp.arange(len(loss))
    ones, transient = columns_shared(x, first)
    falls = jnp.expm1(-exponents * x[:, None]) / exponents
    table = jnp.concatenate([jnp.stack([ones, y, transient], 1), falls, -change.T], axis=1) * known[:, None]

    def of_noise(drift, correlation):
        lag = jnp.abs(index[:, None] - index)
        plain = jnp.where(lag == 0, 1.0, correlation ** lag.astype(x.dtype))
        covariance = plain + jnp.square(drift) * drifted(x)
        both = known[:, None] * known
        covariance = jnp.where(both > 0, covariance, jnp.eye(len(x), dtype=x.dtype))
        white, log_det = whiten(covariance, table)
        # Lengths and angles of the columns are all that counts: of their rows the triangle keeps as many as columns.
        return triangle(white), log_det

    def chosen(white, exponent, kernel):
        shared = jnp.take(white, jnp.stack([0, 3 + exponent, 2, 3 + len(exponents) + kernel, 1]), axis=1)
        return triangle(shared)

    drifts, correlations = (jnp.asarray(a, loss.dtype) for a in (DRIFTS, CORRELATIONS))
    over = jax.vmap(jax.vmap(of_noise, in_axes=(None, 0)), in_axes=(0, None))
    # What any grid point needs is whitened once.
    white, log_det = over(drifts, correlations)
    pick = jax.vmap(jax.vmap(chosen, in_axes=(None, None, 0)), in_axes=(None, 0, None))
    pick = jax.vmap(jax.vmap(pick, in_axes=(0, None, None)), in_axes=(0, None, None))
    triangles = pick(white, jnp.arange(len(exponents)), jnp.arange(rows.response.shape[0]))
    centre = jnp.stack([jnp.zeros(()), jnp.asarray(0.3), jnp.zeros(()), prior.gain]).astype(loss.dtype)
    std = jnp.stack([jnp.asarray(1.0), jnp.asarray(1.0), prior.transient, prior.gain_std]).astype(loss.dtype)
    number = jnp.sum(known)

    def solve(triangular, noise):
        top = jnp.concatenate([triangular[:, :COLUMNS] * std, triangular[:, -1:]], 1) / noise
        below = jnp.concatenate([jnp.eye(COLUMNS, dtype=top.dtype), (centre / std)[:, None]], 1)
        joined = triangle(jnp.concatenate([top, below]))
        inner = joined[:COLUMNS, :COLUMNS]
        inverse = upper_inverse(inner)
        mean = jnp.sum(inverse * joined[:COLUMNS, -1], axis=1) * std
        inverse = inverse * std[:, None]
        determinant = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(inner))))
        evidence = -0.5 * jnp.square(joined[-1, -1]) - determinant - number * jnp.log(noise)
        return evidence, mean, inverse

    over = jax.vmap(solve, in_axes=(None, 0))
    for _ in range(4):
        over = jax.vmap(over, in_axes=(0, None))
    evidence, mean, factor = over(triangles, noises)
    evidence = evidence - log_det[:, :, None, None, None]
    log_weight = evidence + _log_prior(rows, prior, drifts, noises) + _log_possible(anchor, mean)
    total = jax.scipy.special.logsumexp(log_weight)
    return Posterior(log_weight - total, total, mean, factor, origin, first, anchor, at_origin)


def _log_prior(rows: Rows, prior: PriorNumbers, drifts, noises) -> Float[Array, "drifts 1 exponents kernels noises"]:
    exponents = jnp.asarray(EXPONENTS, noises.dtype)
    return (
        _normal(jnp.log(drifts[:, None, None, None, None] * noises), jnp.log(prior.drift), prior.drift_std)
        + _normal(jnp.log(exponents), jnp.log(prior.exponent), prior.exponent_std)[:, None, None]
        + _normal(jnp.log(noises), jnp.log(prior.noise), prior.noise_std)
        + rows.log_kernel[:, None]
    )


def _log_possible(anchor, mean) -> Float[Array, "drifts correlations exponents kernels noises"]:
    """A loss that rises, or falls below 0 in the end, is no such law."""
    slope = mean[..., 1]
    floor = anchor + mean[..., 0] - slope / jnp.asarray(EXPONENTS, mean.dtype)[:, None, None]
    return jax.nn.log_sigmoid(slope / 1e-3) + jax.nn.log_sigmoid(floor / (0.05 * jnp.abs(anchor)))


def _normal(value, centre, std):
    return -0.5 * jnp.square((value - centre) / std)
