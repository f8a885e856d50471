"""Noise from row to row: white noise over a slow wander, and what it does to estimates by least squares."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ...pytrees import pytree

#: Lengths of the wander that are tried, in rows, from this one to all rows, evenly in the logarithm.
_SHORTEST, _LENGTHS = 0.5, 20
#: Spectral density of the wander at frequency 0 over that of the white noise: these, and the wander alone.
_LEAST_POWER, _MOST_POWER, _POWERS = 0.03, 3e4, 9
#: More rows than this are first averaged in neighbouring groups: what wanders slowly is still seen.
_MOST_ROWS = 4096
_BISECTIONS = 40


@pytree
class RowNoise:
    """Models of the noise, how likely each is, and the variance that each gives to sums over the rows.

    Attributes:
        weight: (models,) probabilities, each model equally likely before the data.
        variance: (models, sums) variance of each sum, unit of the residuals squared.
        degrees: degrees of freedom of the variances.
        log_likelihood: of the most likely model, its size and the columns being those that fit best.
    """

    weight: Float[Array, " models"]
    variance: Float[Array, "models sums"]
    degrees: Float[Array, ""]
    log_likelihood: Float[Array, ""]

    def deviation(self) -> Float[Array, " sums"]:
        """Standard deviation of each sum: the geometric mean, as a few unlikely models give sums of any size."""
        tiny = jnp.finfo(self.variance.dtype).tiny
        return jnp.exp(jnp.sum(self.weight[:, None] * jnp.log(jnp.maximum(self.variance, tiny)), axis=0) / 2)

    def probability(self, size: Float[Array, ""], which: int) -> Float[Array, ""]:
        """Probability that a sum is farther from its expectation than ``size``, whatever the model."""
        return jnp.sum(self.weight * _outside(size / jnp.sqrt(self.variance[:, which]), self.degrees))

    def half_width(self, level: float, which: int) -> Float[Array, ""]:
        """The distance from its expectation within which a sum lies with probability ``level``."""
        unit = self.deviation()[which]

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            beyond = self.probability(jnp.exp(middle) * unit, which) > 1 - level
            return jnp.where(beyond, middle, low), jnp.where(beyond, high, middle)

        start = jnp.log(jnp.asarray(1e-3, unit.dtype)), jnp.log(jnp.asarray(1e6, unit.dtype))
        low, high = lax.fori_loop(0, _BISECTIONS, halve, start)
        return unit * jnp.exp((low + high) / 2)


def row_noise(
    columns: Float[Array, "rows columns"],
    residuals: Float[Array, " rows"],
    sums: Float[Array, "rows sums"],
    counts: Bool[Array, " rows"],
) -> RowNoise:
    """The noise behind residuals of least squares.

    Each model is a first-order autoregression, the slow wander, plus white noise; lengths and proportions lie on a
    grid. The likelihood is the restricted one: fitting the columns takes slow noise out of the residuals, and it knows.

    Args:
        columns: orthonormal ones that were fitted.
        residuals: what they left, in the order of training.
        sums: weights of the rows in each sum whose variance is asked for.
        counts: rows that count; the others are gaps.
    """
    columns, residuals, sums, counts = _grouped(columns, residuals, sums, counts)
    correlation, white = _models(len(residuals), residuals.dtype)
    number = jnp.sum(counts)
    degrees = jnp.maximum(number - columns.shape[1], 1).astype(residuals.dtype)
    unit = jnp.sqrt(jnp.maximum(jnp.sum(residuals**2) / degrees, jnp.finfo(residuals.dtype).tiny))
    rows = jnp.concatenate([columns, residuals[:, None] / unit], axis=1)
    products, log_scale = _whitened_products(rows, counts, correlation, white)
    within, across = products[:, :-1, :-1], products[:, :-1, -1]
    solved = jnp.linalg.solve(within, across[..., None])[..., 0]
    left = products[:, -1, -1] - jnp.sum(across * solved, axis=1)
    left = jnp.maximum(left, jnp.finfo(left.dtype).eps * degrees)
    likelihood = -0.5 * (log_scale + number * jnp.log(left))
    restricted = -0.5 * (log_scale + jnp.linalg.slogdet(within)[1] + degrees * jnp.log(left))
    variance = _variances(sums, correlation, white) * (left / degrees)[:, None] * unit**2
    return RowNoise(jax.nn.softmax(restricted), variance, degrees, jnp.max(likelihood) - number * jnp.log(unit))


def _outside(t, degrees):
    """Probability that Student's t is farther from 0; by Wallace's normal deviate, within 0.004 from 2 degrees on."""
    normal = (8 * degrees + 1) / (8 * degrees + 3) * jnp.sqrt(degrees * jnp.log1p(t**2 / degrees))
    return lax.erfc(normal / np.sqrt(2.0))


def _grouped(columns, residuals, sums, counts):
    """Sums of neighbouring rows over the root of their number, which keep sums over all rows of what is smooth."""
    together = -(-len(residuals) // _MOST_ROWS)
    if together == 1:
        return columns, residuals, sums, counts

    def group(values):
        padded = jnp.pad(values, ((0, -len(values) % together), *((0, 0),) * (values.ndim - 1)))
        return padded.reshape(-1, together, *values.shape[1:])

    columns, residuals, sums = (group(values).sum(axis=1) / together**0.5 for values in (columns, residuals, sums))
    return columns, residuals, sums, jnp.any(group(counts), axis=1)


def _models(rows: int, dtype):
    """(models,) correlation of the wander between neighbours, and the white part of the variance."""
    length = np.geomspace(_SHORTEST, max(rows, 2), _LENGTHS)
    power = np.r_[np.geomspace(_LEAST_POWER, _MOST_POWER, _POWERS), np.inf]
    correlation, power = (values.ravel() for values in np.meshgrid(np.exp(-1 / length), power, indexing="ij"))
    white = 1 / (1 + power * (1 - correlation) / (1 + correlation))
    return jnp.asarray(correlation, dtype), jnp.asarray(white, dtype)


def _whitened_products(rows, counts, correlation, white):
    """``X' Ω^-1 X`` and ``ln det Ω`` for the rows X under each model, of variance 1, by Kalman's filter."""
    models, width = len(correlation), rows.shape[1]

    def step(state, row):
        (values, there), (spread, expected, products, log_scale) = row, state
        variance, surprise = spread + white, values - expected
        inverse = jnp.where(there, 1 / variance, 0.0)
        products += inverse[:, None, None] * surprise[:, :, None] * surprise[:, None, :]
        log_scale += jnp.where(there, jnp.log(variance), 0.0)
        gain = spread * inverse
        expected = correlation[:, None] * (expected + gain[:, None] * surprise)
        spread = correlation**2 * spread * (1 - gain) + (1 - white) * (1 - correlation**2)
        return (spread, expected, products, log_scale), None

    zeros = [jnp.zeros((models, *shape), rows.dtype) for shape in ((width,), (width, width), ())]
    (_, _, products, log_scale), _ = lax.scan(step, (1 - white, *zeros), (rows, counts), unroll=2)
    return products, log_scale


def _variances(sums, correlation, white):
    """(models, sums) variance of sums over rows under each model, of variance 1."""
    number = sums.shape[1]
    each = correlation.reshape(_LENGTHS, -1)[:, 0]

    def step(state, row):
        before, total = state
        before = each[:, None] * before
        total += (2 * before + row) * row
        return (before + row, total), None

    zeros = jnp.zeros((_LENGTHS, number), sums.dtype)
    (_, wandering), _ = lax.scan(step, (zeros, zeros), sums)
    wandering = jnp.repeat(wandering, _POWERS + 1, axis=0)
    return (1 - white)[:, None] * wandering + white[:, None] * jnp.sum(sums**2, axis=0)
