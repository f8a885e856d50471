"""What is said about fits beside their parameters: standard errors, r2, and the test for an event."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from ..curves import Family
from . import native_kernel
from .kernel import over_tiles
from .native_kernel import chosen_kernel
from .options import FitOptions
from .projection import Block, shape_and_slopes, unit_vectors
from .result import Category
from .solution import Solution


class Measures(NamedTuple):
    """What sums over a curve's losses say of its fit."""

    factor: Float[Array, "coefficient factor curves"]  # see `covariance_factor`
    rss: Float[Array, " curves"]
    constant: Float[Array, " curves"]  # the best one: the weighted mean
    spread: Float[Array, " curves"]  # the rss of the constant


def measure(family: Family, options: FitOptions, block: Block, solution: Solution) -> Measures:
    """`Measures` of solved curves, by the kernel that is chosen."""
    if chosen_kernel(family, options, block.loss.dtype) == "native":
        change = functools.partial(_change_of_measures, family)
        return Measures(*native_kernel.measure(family, block, solution.coefficients, solution.held, change))
    return over_tiles(functools.partial(_measure, family), block, solution)


def _measure(family: Family, block: Block, solution: Solution) -> Measures:
    rss = jnp.sum(block.weight * jnp.square(residuals(family, block, solution.coefficients)), axis=0)
    total = jnp.sum(block.weight, axis=0)
    constant = jnp.sum(block.weight * block.loss, axis=0) / jnp.where(total > 0, total, 1)
    spread = jnp.sum(block.weight * jnp.square(block.loss - constant), axis=0)
    return Measures(covariance_factor(family, block, solution), rss, constant, spread)


def _change_of_measures(family, arguments, changes, _):
    """How the native kernel's measures follow what they are of: as those of `_measure`."""

    def measures(x, loss, weight, coefficients, held):
        unbounded = jnp.zeros_like(loss[0])
        block = Block(x, loss, weight, unbounded, unbounded)
        return tuple(_measure(family, block, Solution(coefficients, held, unbounded > 0)))

    return jax.jvp(measures, arguments, changes)[1]


def residuals(family: Family, block: Block, coefficients) -> Float[Array, "checkpoints curves"]:
    """Losses minus curves; 0 where nothing was measured."""
    theta = coefficients[2:, None]
    x = block.x[:, None]
    curve = coefficients[0] * family.complement(x, theta) + coefficients[1] * family.shape(x, theta)
    return jnp.where(block.weight > 0, block.loss - curve, 0)


def covariance_factor(family: Family, block: Block, solution: Solution) -> Float[Array, "coefficient factor curves"]:
    """``R⁻¹`` with ``R^T R = J^T W J`` over the coefficients that are not on a bound (rows of held ones are 0).

    J is the full Jacobian by (low, high, theta); R comes from modified Gram-Schmidt, which unlike ``J^T J`` keeps
    float32's digits for nearly parallel columns. Where a column depends on the ones before, the rows are NaN.
    """
    p = solution.coefficients
    f, e, slopes = shape_and_slopes(family, block.x, p[2:], unit_vectors(p[2:]))
    measured = block.weight > 0
    root = jnp.where(measured, jnp.sqrt(jnp.where(measured, block.weight, 1)), 0)  # its slope at 0 is infinite
    columns = [root * c for c in (e, f, *((p[1] - p[0]) * g for g in slopes))]
    size, eps = len(columns), jnp.finfo(p.dtype).eps
    upper = [[jnp.zeros_like(p[0]) for _ in range(size)] for _ in range(size)]
    for i in range(size):
        held, before = solution.held[i], _norm(columns[i])
        for k in range(i):
            upper[k][i] = jnp.where(held, 0, jnp.sum(columns[k] * columns[i], axis=0))
            columns[i] = columns[i] - upper[k][i] * columns[k]
        length = _norm(columns[i])
        dependent = length <= 30 * eps * before
        upper[i][i] = jnp.where(held, 1, jnp.where(dependent, jnp.nan, length))
        columns[i] = jnp.where(held, 0, columns[i] / length)
    inverse = [[jnp.zeros_like(p[0]) for _ in range(size)] for _ in range(size)]
    for j in range(size):
        inverse[j][j] = jnp.where(solution.held[j], 0, 1 / upper[j][j])
        for i in reversed(range(j)):
            inverse[i][j] = -sum(upper[i][k] * inverse[k][j] for k in range(i + 1, j + 1)) / upper[i][i]
            inverse[i][j] = jnp.where(solution.held[i], 0, inverse[i][j])
    return jnp.stack([jnp.stack(row) for row in inverse])


def undetermined_as_nan(factor, variance, width):
    """`covariance_factor`, NaN for components of theta whose standard error exceeds the width of their bounds."""
    error = jnp.sqrt(variance * jnp.sum(jnp.square(lax.stop_gradient(factor[2:])), axis=1))
    determined = ~(lax.stop_gradient(error) > width[:, None])
    return jnp.concatenate([factor[:2], jnp.where(determined[:, None], factor[2:], jnp.nan)])


def _norm(column):
    square = jnp.sum(jnp.square(column), axis=0)
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(square.dtype).tiny))


def has_event(options: FitOptions, num_parameters: int, num_checkpoints: int, rss_constant, rss, num_points):
    """Whether the data support a curve against a constant, curve by curve.

    ``"f_test"``: ``F = (rss_constant - rss) / (p - 1) / (rss / (n - p))`` against the critical value of
    F(p - 1, n - p) at level ``significance / c(n)``. Where and how sharp the event is were searched for, which the F
    distribution does not know; ``c(n) = 0.7 (ln n - 1)`` makes up for it: see `_search_correction`.
    ``"bic"``: ``n ln(rss_constant / rss)`` against ``(p - 1) ln n``, Schwarz 1978.
    """
    safe = jnp.maximum(rss, jnp.finfo(rss.dtype).tiny)
    if options.event_test == "bic":
        n = jnp.maximum(num_points, 2).astype(rss.dtype)
        return n * jnp.log(rss_constant / safe) > (num_parameters - 1) * jnp.log(n)
    table = _critical_ratios(num_checkpoints, num_parameters, options.significance)
    return rss_constant - rss > jnp.asarray(table, rss.dtype)[num_points] * safe


@functools.cache
def _critical_ratios(num_checkpoints: int, num_parameters: int, significance: float) -> np.ndarray:
    """Critical ``(rss_constant - rss) / rss`` for every number of points up to all checkpoints; inf for too few."""
    from scipy.special import fdtri

    n = np.arange(num_checkpoints + 1)
    extra, left = num_parameters - 1, np.maximum(n - num_parameters, 1)
    level = np.minimum(significance / _search_correction(np.maximum(n, num_parameters + 1)), 0.5)
    return np.where(n <= num_parameters, np.inf, extra / left * fdtri(extra, left, 1 - level))


def _search_correction(n):
    """How much more often than F(3, n - 4) says the best of all sigmoids passes on white noise.

    Measured on 20,480 noise curves for each n, evenly and geometrically spaced, for tail probabilities from 0.001 to
    0.2: at most 0.37 at n = 5, 0.67 at 8, 1.07 at 16, 1.9 at 64, 2.8 at 256, 3.2 at 512, that is 0.62 ln n - 0.65.
    Repeated by tests/lm/test_category.py.
    """
    return 0.7 * (np.log(n) - 1)


def categorise(family: Family, supported, usable, event, first, last) -> UInt8[Array, " curves"]:
    """`Category` of every curve from its event's place on the axis."""
    if family.event is None:
        return jnp.full(usable.shape, Category.NONE, jnp.uint8)
    where = jnp.where(event < first, Category.EARLY, jnp.where(event > last, Category.LATE, Category.LEARNED))
    category = jnp.where(supported, where, Category.UNLEARNED)
    return jnp.where(usable, category, Category.NONE).astype(jnp.uint8)


def named_and_errors(family: Family, solution: Solution, factor, variance, window):
    """Named parameters and their standard errors by the delta method, ``sqrt(diag(T C T^T))`` with C the covariance of
    the coefficients and T the derivative of the named parameters by them."""

    def named(p):
        return family.named(p[0], p[1] - p[0], p[2:], window)

    errors = {}
    params = named(solution.coefficients)
    size = len(solution.coefficients)
    unit = jnp.eye(size, dtype=factor.dtype)
    rows = [
        jax.jvp(
            named,
            (solution.coefficients,),
            (jnp.broadcast_to(unit[i][:, None], solution.coefficients.shape),),
        )[1]
        for i in range(size)
    ]
    for name in params:
        along = sum(rows[i][name][None] * factor[i] for i in range(size))
        depends = sum(jnp.abs(rows[i][name]) * ~solution.held[i] for i in range(size)) > 0
        square = variance * jnp.sum(jnp.square(along), axis=0)
        safe = jnp.where(depends & (square > 0), square, 1)
        errors[name] = jnp.where(depends, jnp.where(square > 0, jnp.sqrt(safe), square), jnp.nan)
    return params, errors
