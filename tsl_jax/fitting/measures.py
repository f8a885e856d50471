"""Sums over a curve's losses at its solution: its coefficients' covariance, its noise, what speaks of an event."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..curves import Family
from .native import call as native_kernel
from .noise import (
    GROWTH_VARIANCE,
    MOST_CORRELATION,
    POINTS_A_PARAMETER,
    CurveNoise,
    Noise,
    correlation_of,
    curve_noise,
    odds_of,
)
from .options import FitOptions
from .solution import Solution
from .xla.kernel import over_tiles
from .xla.projection import Block, shape_and_slopes, unit_vectors

#: A column of the Jacobian depends on those before it where less than this many units of rounding of it is left.
DEPENDENT = 30.0
#: A second event is looked for where a step has at least so many points (of mean weight) to itself.
LEAST_STEP = 2.0
#: Losses are whitened with a correlation that is larger than its estimate by this many standard deviations of it,
CAUTION = 0.75
#: with one between neighbours of at most this,
MOST_WHITENED = 0.99
#: and with this share of the growth of variance that a curve's own residuals show: some of it is misfit.
TRUST_IN_GROWTH = 0.5
#: What is left of a gain counts from so many units of rounding of the whole on.
ROUNDING = 64.0


class Measures(NamedTuple):
    """What sums over a curve's losses say of its fit; rows e of a coefficient that is held or not determined are 0."""

    factor: Float[Array, "coefficient factor curves"]  # see `covariance_factor`
    meat: Float[Array, "factor factor curves"]  # Q^T C Q, with C the noise's covariance over its variance
    rss: Float[Array, " curves"]
    constant: Float[Array, " curves"]  # the best one: the weighted mean
    tss: Float[Array, " curves"]  # the rss of the constant
    white_rss: Float[Array, " curves"]  # of whitened residuals, see `whitened`
    white_gain: Float[Array, " curves"]  # by which the curve lowers it beyond a constant, without the two best points
    second_gain: Float[Array, " curves"]  # of the residuals, the most that a step explains which the curve leaves free
    long_run: Float[Array, " curves"]  # variance of the mean over that of as many independent points
    correlation: Float[Array, " curves"]  # see `CurveNoise`
    deviation: Float[Array, " curves"]


def measure(family: Family, options: FitOptions, assumed: Noise, block: Block, solution: Solution) -> Measures:
    """`Measures` of solved curves, by the kernel that is chosen."""
    if options.kernel != "xla":
        change = functools.partial(_change_of_measures, family)
        found = (solution.coefficients, solution.held, change)
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
        "caution": np.float32(CAUTION),
        "most_whitened": np.float32(MOST_WHITENED),
        "trust_in_growth": np.float32(TRUST_IN_GROWTH),
        "rounding": np.float32(ROUNDING),
    }


def measure_block(family: Family, assumed: Noise, block: Block, solution: Solution) -> Measures:
    """`Measures` of a block, the definition of what the native kernel computes."""
    r = residuals(family, block, solution.coefficients)
    total = jnp.sum(block.weight, axis=0)
    unit = 1 / jnp.where(total > 0, total, 1)
    constant = jnp.sum(block.weight * block.loss, axis=0) * unit
    root = root_of(block.weight)
    factor, basis = covariance_factor(family, block, root, solution)
    noise = noise_of(family, assumed, root, r)
    meat, long_run = sandwiched(assumed, noise, root, basis)
    white_rss, white_gain = whitened(assumed, noise, root, root * (block.loss - constant), root * r)
    return Measures(
        factor=factor,
        meat=meat,
        rss=jnp.sum(block.weight * jnp.square(r), axis=0),
        constant=constant,
        tss=jnp.sum(block.weight * jnp.square(block.loss - constant), axis=0),
        white_rss=white_rss,
        white_gain=white_gain,
        second_gain=step_gain(root, root * r, basis),
        long_run=long_run,
        correlation=noise.correlation,
        deviation=noise.deviation,
    )


def _change_of_measures(family, arguments, changes, _):
    """How the native kernel's measures follow what they are of: as those of `measure_block`."""

    def measures(shared, loss, weight, coefficients, held):
        x, assumed = native_kernel.without_noise(shared, len(loss))
        unbounded = jnp.zeros_like(loss[0])
        block = Block(x, loss, weight, unbounded, unbounded)
        return tuple(measure_block(family, assumed, block, Solution(coefficients, held, unbounded > 0)))

    return jax.jvp(measures, arguments, changes)[1]


def residuals(family: Family, block: Block, coefficients) -> Float[Array, "checkpoints curves"]:
    """Losses minus curves; 0 where nothing was measured."""
    theta = coefficients[2:, None]
    x = block.x[:, None]
    curve = coefficients[0] * family.complement(x, theta) + coefficients[1] * family.shape(x, theta)
    return jnp.where(block.weight > 0, block.loss - curve, 0)


def root_of(weight):
    """Roots of weights, 0 where nothing was measured."""
    measured = weight > 0
    return jnp.where(measured, jnp.sqrt(jnp.where(measured, weight, 1)), 0)  # its slope at 0 is infinite


def covariance_factor(family: Family, block: Block, root, solution: Solution):
    """``R⁻¹`` with ``√W J = Q R`` over the coefficients that are not on a bound, and Q's columns.

    J is the full Jacobian by (low, high, theta); R comes from modified Gram-Schmidt, which unlike ``J^T J`` keeps
    float32's digits for nearly parallel columns. A column that depends on those before it is left out, as if its
    coefficient were known; the diagonal of `factor` is NaN there, which says that the data do not determine it.

    Returns:
        (coefficient, factor, curves), rows and columns of held coefficients 0; and (factor, checkpoints, curves).
    """
    p = solution.coefficients
    f, e, slopes = shape_and_slopes(family, block.x, p[2:], unit_vectors(p[2:]))
    columns = [root * c for c in (e, f, *((p[1] - p[0]) * g for g in slopes))]
    size, eps = len(columns), jnp.finfo(p.dtype).eps
    upper = [[jnp.zeros_like(p[0]) for _ in range(size)] for _ in range(size)]
    left_out = []
    for i in range(size):
        before = _norm(columns[i])
        for k in range(i):
            upper[k][i] = jnp.sum(columns[k] * columns[i], axis=0)
            columns[i] = columns[i] - upper[k][i] * columns[k]
        length = _norm(columns[i])
        dependent = ~solution.held[i] & (length <= DEPENDENT * eps * before)
        left_out.append(solution.held[i] | dependent)
        upper[i][i] = jnp.where(solution.held[i], 1, jnp.where(dependent, jnp.nan, length))
        columns[i] = jnp.where(left_out[i], 0, columns[i] / jnp.where(left_out[i], 1, length))
    inverse = [[jnp.zeros_like(p[0]) for _ in range(size)] for _ in range(size)]
    for j in range(size):
        inverse[j][j] = jnp.where(solution.held[j], 0, 1 / upper[j][j])
        for i in reversed(range(j)):
            row = sum(upper[i][k] * jnp.where(left_out[k], 0, inverse[k][j]) for k in range(i + 1, j + 1))
            out = left_out[i] | left_out[j]
            inverse[i][j] = jnp.where(out, 0, -row / jnp.where(out, 1, upper[i][i]))
    return jnp.stack([jnp.stack(row) for row in inverse]), jnp.stack(columns)


def _norm(column):
    square = jnp.sum(jnp.square(column), axis=0)
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(square.dtype).tiny))


def noise_of(family: Family, assumed: Noise, root, r) -> CurveNoise:
    """The noise of every curve, from its residuals r (checkpoints, curves)."""
    e = root * r / assumed.std[:, None]
    measured = root > 0

    def add(previous, row):
        value, there = row
        return jnp.where(there, value, previous), value * previous

    lagged = jnp.sum(lax.scan(add, jnp.zeros_like(e[0]), (e, measured))[1], axis=0)
    z = leaning(len(e), e.dtype)[:, None]
    sums = jnp.sum(jnp.square(e), axis=0), lagged, jnp.sum(jnp.abs(e), axis=0), jnp.sum(z * jnp.abs(e), axis=0)
    return curve_noise(assumed, len(family.names), jnp.sum(measured, axis=0), *sums)


def leaning(num_checkpoints: int, dtype) -> Float[Array, " checkpoints"]:
    """z, from -1 at the first checkpoint to 1 at the last."""
    return jnp.linspace(-1, 1, num_checkpoints, dtype=dtype)


def sandwiched(assumed: Noise, noise: CurveNoise, root, basis):
    """``Q^T C Q`` for the covariance C of the noise with mean variance 1, by one recursion over checkpoints; and the
    variance of the weighted mean over that of independent noise.

    With ``c_i = ρ_i (c_{i-1} + s_{i-1} q_{i-1})``, s the standard deviations and q the rows of Q, half of it is the sum
    over i of ``s_i q_i (c_i + s_i q_i / 2)^T``, but for transposition.
    """
    size, n, _ = basis.shape
    std = assumed.std[:, None] * jnp.exp(noise.growth * leaning(n, basis.dtype)[:, None])
    correlation = correlation_of(assumed.odds[:, None] * noise.odds)
    rows = jnp.concatenate([jnp.moveaxis(basis, 1, 0), root[:, None]], axis=1) * std[:, None]

    def add(state, given):
        carried, products = state
        row, rho = given
        carried = rho * carried
        products = products + row[:, None] * (carried + row / 2)[None]
        return (carried + row, products), None

    nothing = jnp.zeros_like(rows[0])  # under `shard_map` it differs between devices, as the sums do
    (_, half), _ = lax.scan(add, (nothing, nothing[:, None] * nothing), (rows, correlation))
    measured = root > 0
    number = jnp.sum(measured, axis=0)
    variance = jnp.sum(jnp.where(measured, jnp.square(std), 0), axis=0) / jnp.maximum(number, 1)
    whole = (half + jnp.swapaxes(half, 0, 1)) / jnp.where(number > 0, variance, 1)
    total = jnp.sum(jnp.square(root), axis=0)
    return whole[:size, :size], jnp.where(total > 0, whole[size, size] / jnp.where(total > 0, total, 1), 1)


def whitened(assumed: Noise, noise: CurveNoise, root, apart, e):
    """What a curve explains beyond a constant where the noise is taken out of both: whitened residuals are independent.

    ``w_i = (x_i/s_i - ρ_i x_{i-1}/s_{i-1}) / √(1 - ρ_i²)`` over measured checkpoints, of the losses around their mean,
    of a constant and of the residuals; ρ the correlation at odds that are larger than their estimate by `CAUTION`
    standard deviations, across gaps a product. Noise that persists moves little from one checkpoint to the next, so
    that a fall which would be chance as a level is none as a slope.

    Args:
        assumed, noise: what is taken for granted, and what each curve adds.
        root: (checkpoints, curves) roots of the weights.
        apart, e: (checkpoints, curves) losses around their mean, and residuals, times them.

    Returns:
        Sum of squares of the whitened residuals; by how much it is smaller than that of the best constant, without the
        two neighbouring checkpoints that speak most for the curve, for which that constant is not the best either: one
        outlier is no event.
    """
    n, curves = root.shape
    std = assumed.std[:, None] * jnp.exp(TRUST_IN_GROWTH * noise.growth * leaning(n, root.dtype)[:, None])
    careful = jnp.clip(noise.correlation + CAUTION * noise.deviation, -MOST_CORRELATION, (1 + MOST_CORRELATION) / 2)
    odds = noise.odds * odds_of(careful) / odds_of(noise.correlation)
    correlation = jnp.minimum(correlation_of(assumed.odds[:, None] * odds), MOST_WHITENED)

    def add(state, given):
        previous, reach = state
        row, there, rho = given
        rho = rho * reach
        white = jnp.where(there, (row - rho * previous) / jnp.sqrt(1 - rho * rho), 0)
        return (jnp.where(there, row, previous), jnp.where(there, 1, rho)), white

    rows = jnp.stack([apart, root, e], axis=1) / std[:, None]
    nothing = jnp.zeros_like(rows[0])  # under `shard_map` it differs between devices, as the sums do
    start = nothing, nothing[0]
    white = lax.scan(add, start, (rows, root > 0, correlation))[1]
    losses, constant, left = white[:, 0], white[:, 1], white[:, 2]
    square = jnp.sum(jnp.square(constant), axis=0)
    level = jnp.sum(losses * constant, axis=0) / jnp.where(square > 0, square, 1)
    gains = jnp.square(losses - level * constant) - jnp.square(left)
    pairs = [gains, (losses - level * constant) * constant, jnp.square(constant)]
    with_last = jnp.concatenate([jnp.zeros((1, curves), bool), gains[:-1] > 0])
    pairs = [a + jnp.where(with_last, jnp.roll(a, 1, axis=0), 0) for a in pairs]
    best = jnp.argmax(pairs[0], axis=0)[None]
    most, moved, taken = (jnp.take_along_axis(a, best, axis=0)[0] for a in pairs)
    kept = jnp.where(most > 0, square - taken, 0)
    level_gain = jnp.where(kept > 0, jnp.square(moved) / jnp.where(kept > 0, kept, 1), 0)
    whole = (1 - ROUNDING * jnp.finfo(root.dtype).eps) * jnp.sum(gains, axis=0)
    return jnp.sum(jnp.square(left), axis=0), jnp.maximum(whole - jnp.maximum(most, 0) - level_gain, 0)


def step_gain(root, e, basis):
    """The most by which a step between two checkpoints lowers the rss, in what the curve's own columns leave of it.

    For the step up to checkpoint k, ``(Σ root e)² / (Σ root² - |Σ root q|²)``, sums over the checkpoints up to k.
    """
    along, square = jnp.cumsum(root * e, axis=0), jnp.cumsum(jnp.square(root), axis=0)
    left = square - jnp.sum(jnp.square(jnp.cumsum(root * basis, axis=1)), axis=0)
    number = jnp.maximum(jnp.sum(root > 0, axis=0), 1)
    seen = left >= LEAST_STEP * square[-1] / number
    return jnp.max(jnp.where(seen, jnp.square(along) / jnp.where(seen, left, 1), 0), axis=0)
