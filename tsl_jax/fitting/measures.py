"""Sums over a curve's losses at its solution: its coefficients' covariance, its noise, what speaks of an event."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..curves import Family
from ..linalg.known import module_of
from .native import call as native_kernel
from .noise import GROWTH_VARIANCE, MOST_CORRELATION, POINTS_A_PARAMETER, Noise
from .options import FitOptions
from .residual_noise import noise_of, sandwiched
from .solution import Solution
from .whitening import (
    CAUTION,
    LEAST_STEP,
    MOST_WHITENED,
    ROUNDING,
    SECOND_CAUTION,
    STEP_PARAMETERS,
    TRUST_IN_GROWTH,
    event_gain,
    second_gain,
)
from .xla.kernel import over_tiles
from .xla.projection import CurveBlock, shape_and_slopes, unit_vectors

#: A column of the Jacobian depends on those before it where less than this many units of rounding of it is left.
DEPENDENT = 30.0


class Measures(NamedTuple):
    """What sums over a curve's losses say of its fit; rows of a coefficient on a bound or not determined are 0."""

    factor: Float[Array, "coefficient factor curves"]  # see `covariance_factor`
    meat: Float[Array, "factor factor curves"]  # Q^T C Q, with C the noise's covariance over its variance
    rss: Float[Array, " curves"]
    constant: Float[Array, " curves"]  # the best one: the weighted mean
    tss: Float[Array, " curves"]  # the rss of the constant
    white_rss: Float[Array, " curves"]  # of whitened residuals, see `whitening`
    white_gain: Float[Array, " curves"]  # by which the curve lowers it beyond a constant, without the two best points
    second_rss: Float[Array, " curves"]  # of whitened residuals with a step beside the curve
    second_gain: Float[Array, " curves"]  # by which the step lowers it, without the two best points
    long_run: Float[Array, " curves"]  # variance of the mean over that of as many independent points
    correlation: Float[Array, " curves"]  # see `CurveNoise`
    deviation: Float[Array, " curves"]


def measure(family: Family, options: FitOptions, assumed: Noise, block: CurveBlock, solution: Solution) -> Measures:
    """`Measures` of solved curves, by the kernel that is chosen."""
    if options.kernel != "xla":
        change = functools.partial(_change_of_measures, family)
        found = (solution.coefficients, solution.active, change)
        return Measures(*native_kernel.measure(family, options.kernel, assumed, _method(), block, *found))
    return over_tiles(functools.partial(measure_block, family, assumed), block, solution)


def _method() -> dict[str, Any]:
    """The constants of what is measured, by the names of `MeasureMethod` in C++."""
    return {
        "points_a_parameter": np.int32(POINTS_A_PARAMETER),
        "most_correlation": np.float32(MOST_CORRELATION),
        "growth_variance": np.float32(GROWTH_VARIANCE),
        "dependent": np.float32(DEPENDENT),
        "least_step": np.float32(LEAST_STEP),
        "step_parameters": np.int32(STEP_PARAMETERS),
        "caution": np.float32(CAUTION),
        "second_caution": np.float32(SECOND_CAUTION),
        "most_whitened": np.float32(MOST_WHITENED),
        "trust_in_growth": np.float32(TRUST_IN_GROWTH),
        "rounding": np.float32(ROUNDING),
    }


def measure_block(family: Family, assumed: Noise, block: CurveBlock, solution: Solution) -> Measures:
    """`Measures` of a block, the definition of what the native kernel computes."""
    r = residuals(family, block, solution.coefficients)
    total = jnp.sum(block.weight, axis=0)
    unit = 1 / jnp.where(total > 0, total, 1)
    constant = jnp.sum(block.weight * block.loss, axis=0) * unit
    root = root_of(block.weight)
    factor, basis = covariance_factor(family, block, root, solution)
    noise = noise_of(assumed, len(family.names), root, root * r)
    meat, long_run = sandwiched(assumed, noise, root, basis)
    white_rss, white_gain = event_gain(assumed, noise, root, root * (block.loss - constant), root * r)
    second_rss, gain = second_gain(assumed, noise, root, root * r, basis)
    return Measures(
        factor=factor,
        meat=meat,
        rss=jnp.sum(block.weight * jnp.square(r), axis=0),
        constant=constant,
        tss=jnp.sum(block.weight * jnp.square(block.loss - constant), axis=0),
        white_rss=white_rss,
        white_gain=white_gain,
        second_rss=second_rss,
        second_gain=gain,
        long_run=long_run,
        correlation=noise.correlation,
        deviation=noise.deviation,
    )


def _change_of_measures(family, arguments, changes, _):
    """How the native kernel's measures follow what they are of: as those of `measure_block`."""

    def measures(shared, loss, weight, coefficients, active):
        x, assumed = native_kernel.without_noise(shared, len(loss))
        unbounded = jnp.zeros_like(loss[0])
        block = CurveBlock(x, loss, weight, unbounded, unbounded)
        return tuple(measure_block(family, assumed, block, Solution(coefficients, active, unbounded > 0)))

    return jax.jvp(measures, arguments, changes)[1]


def residuals(family: Family, block: CurveBlock, coefficients) -> Float[Array, "checkpoints curves"]:
    """Losses minus curves; 0 where nothing was measured."""
    theta = coefficients[2:, None]
    x = block.x[:, None]
    curve = coefficients[0] * family.complement(x, theta) + coefficients[1] * family.shape(x, theta)
    return jnp.where(block.weight > 0, block.loss - curve, 0)


def root_of(weight):
    """Roots of weights, 0 where nothing was measured."""
    measured = weight > 0
    return jnp.where(measured, jnp.sqrt(jnp.where(measured, weight, 1)), 0)  # its slope at 0 is infinite


def covariance_factor(family: Family, block: CurveBlock, root, solution: Solution):
    """``R⁻¹`` with ``√W J = Q R`` over the coefficients that are not on a bound, and Q's columns.

    J is the full Jacobian by (low, high, theta); R comes from modified Gram-Schmidt, which unlike ``J^T J`` keeps
    float32's digits for nearly parallel columns. A column that depends on those before it is left out, as if its
    coefficient were known; the diagonal of `factor` is NaN there, which says that the data do not determine it.

    Returns:
        (coefficient, factor, curves), rows and columns of coefficients on a bound 0; and (factor, checkpoints, curves).
    """
    p = solution.coefficients
    columns, upper, left_out = orthonormal(
        [root * c for c in coefficients_columns(family, block, solution)], solution.active
    )
    size = len(columns)
    inverse = [[jnp.zeros_like(p[0]) for _ in range(size)] for _ in range(size)]
    for j in range(size):
        inverse[j][j] = jnp.where(solution.active[j], 0, 1 / upper[j][j])
        for i in reversed(range(j)):
            row = sum(upper[i][k] * jnp.where(left_out[k], 0, inverse[k][j]) for k in range(i + 1, j + 1))
            out = left_out[i] | left_out[j]
            inverse[i][j] = jnp.where(out, 0, -row / jnp.where(out, 1, upper[i][i]))
    return jnp.stack([jnp.stack(row) for row in inverse]), jnp.stack(columns)


def coefficients_columns(family: Family, block: CurveBlock, solution: Solution):
    """The columns of J, by (low, high, theta): a list of (checkpoints, curves)."""
    p = solution.coefficients
    f, e, slopes = shape_and_slopes(family, block.x, p[2:], unit_vectors(p[2:]))
    return [e, f, *((p[1] - p[0]) * g for g in slopes)]


def orthonormal(columns, active):
    """Q's columns, R as rows of a list, and which columns are left out (a list of (curves,)): see `covariance_factor`.

    Args:
        columns: of ``√W J``, a list of (checkpoints, curves), of JAX or of NumPy.
        active: (coefficients, curves), which are on a bound.
    """
    xp = module_of(columns[0])
    size, eps, columns = len(columns), xp.finfo(columns[0].dtype).eps, list(columns)
    upper = [[xp.zeros_like(columns[0][0]) for _ in range(size)] for _ in range(size)]
    left_out = []
    for i in range(size):
        before = _norm(columns[i])
        for k in range(i):
            upper[k][i] = xp.sum(columns[k] * columns[i], axis=0)
            columns[i] = columns[i] - upper[k][i] * columns[k]
        length = _norm(columns[i])
        dependent = ~active[i] & (length <= DEPENDENT * eps * before)
        left_out.append(active[i] | dependent)
        upper[i][i] = xp.where(active[i], 1, xp.where(dependent, xp.nan, length))
        columns[i] = xp.where(left_out[i], 0, columns[i] / xp.where(left_out[i], 1, length))
    return columns, upper, left_out


def _norm(column):
    xp = module_of(column)
    square = xp.sum(xp.square(column), axis=0)
    return xp.sqrt(xp.maximum(square, xp.finfo(square.dtype).tiny))
