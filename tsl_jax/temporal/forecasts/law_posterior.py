"""Posterior of one law of the mean loss on a grid of its nonlinear parameters; the others in closed form.

In NumPy: a forecast of one run is little arithmetic, which XLA took ten seconds to compile.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import log_expit, logsumexp

from .prior_numbers import ForecastPrior

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


class Rows(NamedTuple):
    """Times of losses as one law, or several stacked, sees them.

    Attributes:
        log_clock: (*laws, rows) logarithm of the law's clock.
        response: (*laws, kernels, rows) what each kernel says that falls of the rate have brought.
        log_kernel: (*laws, kernels) logarithm of the kernels' prior weights.
    """

    log_clock: np.ndarray
    response: np.ndarray
    log_kernel: np.ndarray

    def of_law(self, law: int) -> "Rows":
        """The rows as one law sees them, without kernels that it has not."""
        there = np.isfinite(self.log_kernel[law])
        return Rows(self.log_clock[law], self.response[law, there], self.log_kernel[law, there])

    def at(self, places: np.ndarray | slice) -> "Rows":
        """Some of the rows."""
        return Rows(self.log_clock[..., places], self.response[..., places], self.log_kernel)


class Posterior(NamedTuple):
    """Weights of the grid and, at each of its points, a normal distribution of the coefficients.

    Grid axes: drift, correlation, exponent, kernel, noise.
    """

    weight: Float[np.ndarray, "drifts correlations exponents kernels noises"]
    mean: Float[np.ndarray, "drifts correlations exponents kernels noises columns"]
    #: Upper triangle F; the covariance is FF'.
    factor: Float[np.ndarray, "drifts correlations exponents kernels noises columns columns"]
    origin: float
    first: float
    anchor: float
    at_origin: Float[np.ndarray, " kernels"]


def drifted(x: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "rows rows"]:
    """Covariance of a slope that drifts as Brownian motion away from 0, both ways: ``m² (3M - m)/6``, one side."""
    size = np.abs(x)
    least, most = np.minimum(size[:, None], size), np.maximum(size[:, None], size)
    same = (x[:, None] > 0) == (x > 0)
    return np.where(same, least**2 * (3 * most - least) / 6, 0)


def columns(exponent, kernel_response, x, first) -> Float[np.ndarray, "*batch rows columns"]:
    """Level, falling power law, early transient (about 1 at the first row) and response: all 0 at the origin but the
    level."""
    transient = np.exp(-_TRANSIENT * (x - first)) - np.exp(_TRANSIENT * first)
    each = np.ones_like(x), np.expm1(-exponent * x) / exponent, transient, -kernel_response
    return np.stack(np.broadcast_arrays(*each), axis=-1)


def posterior(
    rows: Rows, loss: Float[np.ndarray, " rows"], known: Bool[np.ndarray, " rows"], prior: ForecastPrior
) -> Posterior:
    """The law's posterior from the rows that are known.

    ``loss = level + slope·(e^(-α x) - 1)/α + transient - gain·response + drift + noise`` with x the logarithm of the
    clock since the last known row: exact for the four coefficients given α, the kernel and three sizes of noise.
    """
    there = np.flatnonzero(known)
    origin, anchor = float(rows.log_clock[there[-1]]), float(loss[there[-1]])
    x = rows.log_clock[there] - origin
    first, at_origin = float(x.min()), rows.response[:, there[-1]]
    # (exponents, kernels, rows, columns), losses beside them; what is common is whitened once.
    table = columns(EXPONENTS[:, None, None], rows.response[:, there] - at_origin[:, None], x, first)
    every = np.concatenate([table[0, 0, :, [0, 2]].T, table[:, 0, :, 1].T, table[0, :, :, 3].T], axis=1)
    every = np.concatenate([every, (loss[there] - anchor)[:, None]], axis=1)
    products, log_det = _whitened_products(x, there, every)
    exponent, kernel = np.arange(len(EXPONENTS))[:, None], np.arange(len(at_origin))
    picked = np.stack(np.broadcast_arrays(0, 2 + exponent, 1, 2 + len(EXPONENTS) + kernel, -1), axis=-1)
    joint = products[:, :, picked[..., :, None], picked[..., None, :], None]
    # The noise's size last but for the matrix.
    joint = np.moveaxis(joint, -1, -3) / np.square(NOISES)[:, None, None]
    std = np.array([1.0, 1.0, prior.transient, prior.gain_std])
    centre = np.array([0.0, 0.3, 0.0, prior.gain]) / std
    mean, factor, evidence = _normal_posterior(joint, centre, std)
    evidence = evidence - len(there) * np.log(NOISES) - log_det[:, :, None, None, None]
    log_weight = evidence + _log_prior(rows, prior) + _log_possible(anchor, mean)
    weight = np.exp(log_weight - logsumexp(log_weight))
    return Posterior(weight, mean, factor, origin, first, anchor, at_origin)


def _whitened_products(x, index, table) -> tuple[np.ndarray, np.ndarray]:
    """``T' Ω^-1 T`` and ``ln det Ω / 2`` of the noise of size 1, for each drift and correlation."""
    lag = np.abs(index[:, None] - index)
    plain = np.where(lag == 0, 1.0, CORRELATIONS[:, None, None] ** lag)
    covariance = plain + (np.square(DRIFTS)[:, None, None] * drifted(x))[:, None]
    lower = np.linalg.cholesky(covariance)
    white = np.linalg.solve(lower, table)
    log_det = np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
    return np.swapaxes(white, -1, -2) @ white, log_det


def _normal_posterior(joint, centre, std) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, factor of the covariance and log evidence of coefficients with a normal prior, from the products of columns
    and losses."""
    lower = np.linalg.cholesky(joint[..., :-1, :-1] * std[:, None] * std + np.eye(COLUMNS))
    inverse = np.linalg.inv(lower)
    along = (inverse @ (joint[..., :-1, -1] * std + centre)[..., None])[..., 0]
    factor = np.swapaxes(inverse, -1, -2) * std[:, None]
    left = joint[..., -1, -1] + centre @ centre - np.sum(np.square(along), axis=-1)
    evidence = -0.5 * left - np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
    return (factor @ along[..., None])[..., 0], factor, evidence


def _log_prior(rows: Rows, prior: ForecastPrior) -> Float[np.ndarray, "drifts 1 exponents kernels noises"]:
    return (
        _normal(np.log(DRIFTS[:, None, None, None, None] * NOISES), np.log(prior.drift), prior.drift_std)
        + _normal(np.log(EXPONENTS), np.log(prior.exponent), prior.exponent_std)[:, None, None]
        + _normal(np.log(NOISES), np.log(prior.noise), prior.noise_std)
        + rows.log_kernel[:, None]
    )


def _log_possible(anchor, mean) -> Float[np.ndarray, "drifts correlations exponents kernels noises"]:
    """A loss that rises, or falls below 0 in the end, is no such law."""
    slope = mean[..., 1]
    floor = anchor + mean[..., 0] - slope / EXPONENTS[:, None, None]
    return log_expit(slope / 1e-3) + log_expit(floor / (0.05 * abs(anchor)))


def _normal(value, centre, std):
    return -0.5 * np.square((value - centre) / std)
