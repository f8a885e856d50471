"""Standard errors of named parameters, the test for an event, and the probabilities of a token's categories."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from ..curves import Family
from .codes import Category
from .measures import Measures
from .noise import POINTS_A_PARAMETER, degrees_of_freedom
from .options import FitOptions
from .scaling import normalised
from .solution import Solution

#: The variance of residuals is taken from at least this fraction of the points, however many the fit and the
#: correlation take up.
LEAST_FREEDOM = 0.1
#: Residuals are not known to less than so many units of rounding of the losses.
ROUNDING = 4


class Scatter(NamedTuple):
    """The noise of each curve, as errors and tests take it."""

    variance: Float[Array, " curves"]  # of a residual of mean weight 1 in the curve's own unit
    effective_points: Float[Array, " curves"]  # independent points that would say as much of a mean
    freedom: Float[Array, " curves"]  # degrees of freedom of the variance (Satterthwaite)


def scatter_of(measures: Measures, size: int, num_points, inflation) -> Scatter:
    """``rss / (n - tr M)``, with M the `Measures.meat`: for independent noise n minus the number of parameters."""
    n = num_points.astype(measures.rss.dtype)
    kept = _kept(measures)
    taken = jnp.trace(measures.meat) + (size - jnp.sum(kept, axis=0))
    variance = inflation * measures.rss / jnp.maximum(jnp.maximum(n - taken, LEAST_FREEDOM * n), 1)
    freedom = degrees_of_freedom(measures.correlation, n, size)
    return Scatter(variance, jnp.clip(n / measures.long_run, jnp.minimum(n, 1), n), freedom)


def _kept(measures: Measures):
    """(coefficients, curves): which are neither on a bound nor undetermined."""
    diagonal = jnp.stack([measures.factor[i, i] for i in range(len(measures.factor))])
    return jnp.isfinite(diagonal) & (diagonal != 0)


def beyond_bounds(measures: Measures, variance, width):
    """(theta, curves): components of theta whose standard error exceeds the width of their bounds."""
    meat = lax.stop_gradient(measures.meat)
    rows = lax.stop_gradient(measures.factor[2:])
    rows = [[jnp.where(jnp.isnan(f), 0, f) for f in row] for row in rows]
    square = [_quadratic(row, meat) for row in rows]
    # By roots, which XLA does not compute again for all that follows from them.
    return jnp.stack([jnp.sqrt(variance * s) > w for s, w in zip(square, width, strict=True)])


def _quadratic(along, meat):
    """``a^T M a`` for each curve, of a list of (curves,) arrays."""
    size = range(len(along))
    return sum(along[a] * sum(meat[a, b] * along[b] for b in size) for a in size)


def named_and_errors(family: Family, x, num_points, solution: Solution, measures: Measures, variance, beyond, window):
    """Named parameters and their standard errors by the delta method, ``sqrt(diag(T C T^T))`` with C the covariance of
    the coefficients, ``variance · factor meat factor^T``, and T the derivative of the named parameters by them.

    The variance of a component of theta that the spacing of checkpoints does not resolve is that of
    `Family.resolution`, where all of them were measured: slopes say nothing there. NaN where a parameter depends on a
    coefficient that nothing determines: one whose column depends on others', or which is `beyond_bounds`.
    """

    def named(p):
        return family.named(p[0], p[1] - p[0], p[2:], window)

    coefficients = solution.coefficients
    size = len(coefficients)
    unit = jnp.eye(size, dtype=coefficients.dtype)
    params = named(coefficients)
    rows = [
        jax.jvp(named, (coefficients,), (jnp.broadcast_to(unit[i][:, None], coefficients.shape),))[1]
        for i in range(size)
    ]
    unresolved = lax.stop_gradient(jnp.where(num_points == len(x), family.resolution(x, coefficients[2:]), 0))
    lost = [jnp.isnan(measures.factor[i, i]) for i in range(size)]
    kept = [~solution.active[i] & ~lost[i] for i in range(size)]
    for k in range(size - 2):
        open_ = unresolved[k] > 0
        lost[2 + k] = (lost[2 + k] | beyond[k]) & ~open_
        kept[2 + k] = kept[2 + k] & ~beyond[k] & ~open_
    factor = [[jnp.where(kept[i], measures.factor[i, j], 0) for j in range(size)] for i in range(size)]
    # All parameters in one array: XLA compiles one loop for them, not some for each.
    slopes = [jnp.where(solution.active[i], 0, jnp.stack([rows[i][name] for name in params])) for i in range(size)]
    scale = normalised(functools.reduce(jnp.maximum, (jnp.abs(slope) for slope in slopes)))
    slopes = [scale * slope for slope in slopes]  # of times like 1e30, whose squares are beyond float32
    along = [sum(slopes[i] * factor[i][j] for i in range(size)) for j in range(size)]
    square = variance * _quadratic(along, measures.meat)
    square = square + sum(jnp.square(slopes[2 + k]) * unresolved[k] for k in range(size - 2))
    unknown = sum(lost[i] & (slopes[i] != 0) for i in range(size)) > 0
    depends = sum(jnp.abs(slope) for slope in slopes) > 0
    safe = jnp.where(depends & (square > 0), square, 1)
    error = jnp.where(square > 0, jnp.sqrt(safe), square) / scale
    # Of the error, not of its square, which XLA would compute again.
    known = depends & ~unknown & (error >= 0) & jnp.isfinite(error)
    errors = jnp.where(known, error, jnp.nan)
    return params, dict(zip(params, errors, strict=True))


class Evidence(NamedTuple):
    """What the data say of an event."""

    ratio: Float[Array, " curves"]  # the test's statistic over its critical value: an event above 1
    event: Float[Array, " curves"]  # probability of one
    second: Float[Array, " curves"]  # probability of another


def evidence_of(options: FitOptions, size: int, measures: Measures, num_points, inflation) -> Evidence:
    """Whether the data support a curve against a constant, and a second event against a curve.

    ``"f_test"``: ``F = white_gain (n - p) / ((p - 1) · white_rss)``, see `whitening`, against 1.1 times the critical
    value of F(p - 1, n - p + 1) at the level `significance`. An event has to be seen without the checkpoints that
    speak most for it: one outlier is none. This also makes up for having searched over all events, which the F
    distribution does not know.
    ``"bic"``: ``n ln(1 + F (p - 1) / n)`` against ``(p - 1) ln n`` (Schwarz 1978).

    The probability of an event is that of the test's own likelihood ratio, with odds of one at the critical value:
    ``((1 + (p - 1)F/d) / (1 + (p - 1)F_crit/d))^((d + p - 1)/2)``, ``d = n - p + 1``. A second event is judged by
    the Bayesian information criterion of the same n, with two further parameters, the height and the place of a step:
    ``n ln(1 + second_gain / second_rss)`` against ``2 ln n``, see `whitening.second_gain`; 0 with fewer than
    `POINTS_A_PARAMETER` points a parameter, which leave nothing to see one by.
    """
    kept = jnp.sum(_kept(measures), axis=0)
    n = jnp.maximum(num_points, 1).astype(measures.rss.dtype)
    extra = size - 1
    tiny = jnp.finfo(n.dtype).tiny
    effective = jnp.maximum(n - kept, FEWEST)
    freedom = effective + 1
    rounding = jnp.square(ROUNDING * jnp.finfo(n.dtype).eps * measures.constant)
    variance = jnp.maximum(jnp.maximum(inflation * measures.white_rss / effective, rounding), tiny)
    ratio = jnp.minimum(measures.white_gain / (extra * variance), 1e6)
    if options.event_test == "bic":
        critical = effective / extra * jnp.expm1(extra * jnp.log(jnp.maximum(effective, 2)) / effective)
    else:
        critical = critical_value(options.significance, extra, effective)
    log_odds = (freedom + extra) / 2 * (jnp.log1p(extra * ratio / freedom) - jnp.log1p(extra * critical / freedom))
    event = jax.nn.sigmoid(log_odds)
    second_variance = jnp.maximum(jnp.maximum(inflation * measures.second_rss / effective, rounding), tiny)
    gained = jnp.minimum(measures.second_gain / second_variance, 1e6)
    second = jax.nn.sigmoid(effective / 2 * jnp.log1p(gained / effective) - jnp.log(jnp.maximum(effective, 2)))
    return Evidence(ratio / critical, event, jnp.where(num_points < POINTS_A_PARAMETER * size, 0, second))


#: Fewest effective points, and the degree of the polynomial that gives critical values: to 4e-5 for levels from 1e-6.
FEWEST, _DEGREE = 0.5, 9


@functools.cache
def _critical_polynomial(significance: float, extra: int) -> tuple[float, ...]:
    """Coefficients, lowest power first, of the logarithm of the critical value in ``1 / (n_eff + 1)``."""
    from scipy.special import fdtri

    most = 1 / (FEWEST + 1)
    nodes = most / 2 * (1 - np.cos(np.pi * (np.arange(64) + 0.5) / 64))
    values = np.log(1.1 * fdtri(extra, 1 / nodes, 1 - significance))
    fitted = np.polynomial.Chebyshev.fit(nodes, values, _DEGREE, domain=(0, most))
    return tuple(fitted.convert(kind=np.polynomial.Polynomial).coef.tolist())


def critical_value(significance: float, extra: int, effective):
    """1.1 times the critical value of F(extra, effective + 1); a polynomial, since a table would be slow to read."""
    inverse = 1 / (effective + 1)
    coefficients = _critical_polynomial(significance, extra)
    value = jnp.full_like(inverse, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * inverse + coefficient
    return jnp.exp(value)


#: Student's t beyond this is taken for this: squares of larger ones leave float32.
_MOST_T = 1e6


def normal_of_t(t, freedom):
    """The standard normal quantile with (nearly) the probability of t in Student's distribution of freedom f.

    ``t · (8f + 1)/(8f + 3) · sqrt(ln(1 + t²/f) / (t²/f))`` (Wallace 1959): probabilities within 0.01 for f = 1, 0.001
    from 4 on, in the tails as well.
    """
    t = jnp.clip(t, -_MOST_T, _MOST_T)
    x = jnp.square(t) / freedom
    small = x < 1e-4
    safe = jnp.where(small, 1, x)
    shrunk = jnp.where(small, 1 - x / 4, jnp.sqrt(jnp.log1p(safe) / safe))
    return t * (8 * freedom + 1) / (8 * freedom + 3) * shrunk


def probability_before(edge, where, error, freedom):
    """Probability that an event lies before an edge: Student's t of ``(edge - where) / error``.

    Args:
        edge: in the fitted coordinate.
        where, error: (curves,) the event's place and its standard error, in the same; where the error is not known
            (NaN) the place counts whole.
        freedom: (curves,) degrees of freedom of the error (`degrees_of_freedom`).
    """
    known = error > 0
    z = normal_of_t((edge - where) / jnp.where(known, error, 1), freedom)
    half = 0.5 + 0.5 * lax.erf(z * np.sqrt(0.5, dtype=z.dtype))
    return jnp.where(known, half, (where < edge).astype(half.dtype))


def probabilities_of(event_probability, where, error, first, last, freedom) -> dict[str, Float[Array, " curves"]]:
    """Probabilities by name (`EVENT_CATEGORIES`): that of an event, times that of its place.

    Args:
        event_probability: (curves,) that there is an event.
        where, error: (curves,) the event's place and its standard error, in the fitted coordinate; where the error is
            NaN the place counts whole.
        first, last: of the window.
        freedom: (curves,) degrees of freedom of the error.
    """
    # The end as the start of what is turned round, so that small probabilities on either side keep their digits.
    early = probability_before(first, where, error, freedom)
    late = probability_before(-last, -where, error, freedom)
    return {
        "unlearned": 1 - event_probability,
        "learned": event_probability * jnp.maximum(1 - early - late, 0),
        "early": event_probability * early,
        "late": event_probability * late,
    }


def categorise(probabilities: dict[str, Float[Array, " curves"]], usable) -> UInt8[Array, " curves"]:
    """The likeliest `Category` of every curve; of equal ones the first."""
    best, category = jnp.full(usable.shape, -1.0), jnp.full(usable.shape, Category.NONE, jnp.uint8)
    for name, probability in probabilities.items():
        better = probability > best
        best, category = jnp.where(better, probability, best), jnp.where(better, Category[name.upper()], category)
    return jnp.where(usable, category, Category.NONE).astype(jnp.uint8)
