"""Standard errors of named parameters, the test for an event, and the probabilities of a token's categories."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from ..curves import Family
from .measures import Measures
from .noise import MOST_CORRELATION, degrees_of_freedom, odds_of
from .options import FitOptions
from .result import Category
from .solution import Solution

#: The test for an event takes a curve's correlation for larger than its estimate by this many standard deviations.
CAUTION = 0.75
#: The variance of residuals is taken from at least this share of the points, however many the fit and the correlation
#: take up.
LEAST_FREEDOM = 0.1


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
    freedom = degrees_of_freedom(n, measures.correlation, size)
    return Scatter(variance, jnp.clip(n / measures.long_run, jnp.minimum(n, 1), n), freedom)


def _kept(measures: Measures):
    """(coefficients, curves): which are neither held nor undetermined."""
    diagonal = jnp.stack([measures.factor[i, i] for i in range(len(measures.factor))])
    return jnp.isfinite(diagonal) & (diagonal != 0)


def undetermined_as_nan(factor, meat, variance, width):
    """`Measures.factor`, with NaN on the diagonal for components of theta whose error exceeds the width of their bounds."""
    rows = lax.stop_gradient(jnp.nan_to_num(factor[2:]))
    error = jnp.sqrt(variance * jnp.einsum("iac,abc,ibc->ic", rows, lax.stop_gradient(meat), rows))
    size = len(factor)
    lost = jnp.concatenate([jnp.zeros((2, *error.shape[1:]), bool), error > width[:, None]])
    return jnp.where(jnp.eye(size, dtype=bool)[..., None] & lost[:, None], jnp.nan, factor)


def named_and_errors(family: Family, x, solution: Solution, factor, meat, variance, window):
    """Named parameters and their standard errors by the delta method, ``sqrt(diag(T C T^T))`` with C the covariance of
    the coefficients, ``variance · factor meat factor^T``, and T the derivative of the named parameters by them.

    To the variance of theta comes what the spacing of checkpoints does not resolve: see `Family.resolution`.
    """

    def named(p):
        return family.named(p[0], p[1] - p[0], p[2:], window)

    errors = {}
    coefficients = solution.coefficients
    params = named(coefficients)
    size = len(coefficients)
    unit = jnp.eye(size, dtype=factor.dtype)
    rows = [
        jax.jvp(named, (coefficients,), (jnp.broadcast_to(unit[i][:, None], coefficients.shape),))[1]
        for i in range(size)
    ]
    unresolved = lax.stop_gradient(family.resolution(x, coefficients[2:]))
    diagonal = [factor[i, i] for i in range(size)]
    for i in range(2, size):  # known to lie between two checkpoints, even where no slope says where
        diagonal[i] = jnp.where(jnp.isnan(diagonal[i]) & (unresolved[i - 2] > 0), 0, diagonal[i])
    for name in params:
        slopes = [jnp.where(solution.held[i], 0, rows[i][name]) for i in range(size)]
        lost = sum(jnp.isnan(diagonal[i]) & (slopes[i] != 0) for i in range(size)) > 0
        depends = sum(jnp.abs(slope) for slope in slopes) > 0
        along = sum(slopes[i] * jnp.where(jnp.isnan(factor[i]), 0, factor[i]) for i in range(size))
        square = variance * sum(along[a] * sum(meat[a, b] * along[b] for b in range(size)) for a in range(size))
        square = square + sum(jnp.square(slopes[2 + k]) * unresolved[k] for k in range(size - 2))
        safe = jnp.where(depends & (square > 0), square, 1)
        known = depends & ~lost & (square >= 0)
        errors[name] = jnp.where(known, jnp.where(square > 0, jnp.sqrt(safe), square), jnp.nan)
    return params, errors


class Evidence(NamedTuple):
    """What the data say of an event."""

    ratio: Float[Array, " curves"]  # the test's statistic over its critical value: an event above 1
    event: Float[Array, " curves"]  # probability of one
    second: Float[Array, " curves"]  # probability of another


def evidence_of(options: FitOptions, size: int, measures: Measures, scatter: Scatter, num_points) -> Evidence:
    """Whether the data support a curve against a constant, and a second event against a curve.

    ``"f_test"``: ``F = (tss - rss - most_gain) / ((p - 1) · variance · power)`` against 1.1 times the critical value of
    F(p - 1, n_eff + 1) at the level `significance`. An event has to be seen without the checkpoint that speaks most
    for it: one outlier is none. This also makes up for having searched over all events, which the F distribution
    does not know. ``power`` is the noise's where the event is: the mean of M's diagonal, for noise that is large
    there, or the long-run variance, for noise that persists, at a correlation that is larger than its estimate by
    `CAUTION` standard deviations; ``n_eff`` are as many points as that leaves.
    ``"bic"``: ``n_eff ln(1 + F (p - 1) / n_eff)`` against ``(p - 1) ln n_eff`` (Schwarz 1978).

    The probability of an event is that of the test's own likelihood ratio, with odds of one at the critical value:
    ``((1 + (p - 1)F/d) / (1 + (p - 1)F_crit/d))^((d + p - 1)/2)``, ``d = n_eff + 1``. A second event is judged by
    the criterion with the gain of the best step in the residuals and three further parameters.
    """
    kept = jnp.sum(_kept(measures), axis=0)
    n = jnp.maximum(num_points, 1).astype(measures.rss.dtype)
    extra = size - 1
    careful = jnp.clip(
        measures.correlation + CAUTION * measures.deviation, -MOST_CORRELATION, (1 + MOST_CORRELATION) / 2
    )
    long_run = measures.long_run * odds_of(careful) / odds_of(measures.correlation)
    local = (jnp.trace(measures.meat) - measures.long_run) / jnp.maximum(kept - 1, 1)
    power = jnp.maximum(jnp.maximum(local, long_run), jnp.finfo(n.dtype).tiny)
    effective = jnp.clip(n / long_run, 0.5, n)
    tiny = jnp.finfo(n.dtype).tiny
    gain = jnp.maximum(measures.tss - measures.rss - measures.most_gain, 0)
    freedom = effective + 1
    ratio = jnp.minimum(gain / (extra * jnp.maximum(scatter.variance * power, tiny)), 1e6)
    if options.event_test == "bic":
        critical = effective / extra * jnp.expm1(extra * jnp.log(jnp.maximum(effective, 2)) / effective)
    else:
        critical = _critical(options.significance, extra, effective)
    log_odds = (freedom + extra) / 2 * (jnp.log1p(extra * ratio / freedom) - jnp.log1p(extra * critical / freedom))
    event = jax.nn.sigmoid(log_odds)
    effective = jnp.clip(n / measures.long_run, 0.5, n)
    gained = measures.second_gain / jnp.maximum(scatter.variance * measures.long_run, tiny)
    second = jax.nn.sigmoid((effective * jnp.log1p(gained / effective) - 3 * jnp.log(jnp.maximum(effective, 2))) / 2)
    return Evidence(ratio / critical, event, second)


#: Effective points for which critical values are tabulated: even steps of their logarithm.
_FEWEST, _MOST, _NODES = 0.5, 1e6, 256


@functools.cache
def _critical_values(significance: float, extra: int) -> np.ndarray:
    """Critical values of the test over `_NODES` numbers of effective points."""
    from scipy.special import fdtri

    effective = np.geomspace(_FEWEST, _MOST, _NODES)
    return 1.1 * fdtri(extra, effective + 1, 1 - significance)


def _critical(significance: float, extra: int, effective):
    """The critical value by linear interpolation of its logarithm in that of the effective points."""
    table = jnp.asarray(np.log(_critical_values(significance, extra)), effective.dtype)
    place = (jnp.log(effective) - np.log(_FEWEST)) * ((_NODES - 1) / np.log(_MOST / _FEWEST))
    at = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, _NODES - 2)
    share = place - at
    return jnp.exp(table[at] * (1 - share) + table[at + 1] * share)


def normal_of_t(t, freedom):
    """The standard normal quantile with (nearly) the probability of t in Student's distribution (Wallace 1959)."""
    return t * (1 - 1 / (4 * freedom)) / jnp.sqrt(1 + jnp.square(t) / (2 * freedom))


def probabilities_of(event_probability, where, error, first, last, freedom):
    """Probabilities (4, curves) of UNLEARNED, LEARNED, EARLY, LATE: of an event, times that of its place.

    Args:
        event_probability: (curves,) that there is an event.
        where, error: (curves,) the event's place and its standard error, in the fitted coordinate; where the error is
            NaN the place counts whole.
        first, last: of the window.
        freedom: (curves,) degrees of freedom of the error.
    """
    known = error > 0
    scale = jnp.where(known, error, 1)

    def before(edge):
        t = normal_of_t((edge - where) / scale, freedom)
        return jnp.where(known, jax.scipy.special.ndtr(t), (where < edge).astype(where.dtype))

    early, late = before(first), 1 - before(last)
    late = jnp.where(known, late, (where > last).astype(where.dtype))
    return jnp.stack(
        [1 - event_probability]
        + [event_probability * share for share in (jnp.maximum(1 - early - late, 0), early, late)]
    )


def categorise(probabilities, usable) -> UInt8[Array, " curves"]:
    """The likeliest `Category` of every curve."""
    order = jnp.asarray([Category.UNLEARNED, Category.LEARNED, Category.EARLY, Category.LATE], jnp.uint8)
    return jnp.where(usable, order[jnp.argmax(probabilities, axis=0)], Category.NONE).astype(jnp.uint8)
