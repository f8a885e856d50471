"""Losses out of which the noise is taken: what speaks for an event in them, and what for a second one."""

import jax
import jax.numpy as jnp
from jax import lax

from .noise import MOST_CORRELATION, POINTS_A_PARAMETER, CurveNoise, Noise, correlation_of, odds_of
from .residual_noise import leaning, noise_of

#: Losses are whitened with a correlation that is larger than its estimate by this many standard deviations of it, in
#: the test for an event and in that for a second one,
CAUTION, SECOND_CAUTION = 1.0, 0.25
#: with one between neighbours of at most this,
MOST_WHITENED = 0.99
#: and with this fraction of the growth of variance that a curve's own residuals show: some of it is misfit.
TRUST_IN_GROWTH = 0.5
#: What is left of a gain counts from so many units of rounding of the whole on.
ROUNDING = 64.0
#: A second event is looked for where a step has at least so many points (of mean weight) to itself.
LEAST_STEP = 2.0
#: As many parameters does the best of all steps take out of the residuals (measured on noise alone).
STEP_PARAMETERS = 3


def whitened(assumed: Noise, noise: CurveNoise, caution: float, root, columns):
    """Columns out of which the noise is taken: of noise itself independent points of variance 1 are left.

    ``w_i = (x_i/s_i - ρ_i x_{i-1}/s_{i-1}) / √(1 - ρ_i²)`` over measured checkpoints; ρ the correlation at odds that
    are larger than their estimate by ``caution`` standard deviations, across gaps a product. Noise that persists moves
    little from one checkpoint to the next, so that a fall which would be chance as a level is none as a slope.

    Args:
        assumed, noise: what is taken for granted, and what each curve adds.
        caution: in standard deviations of the correlation.
        root: (checkpoints, curves) roots of the weights.
        columns: each (checkpoints, curves), times them.
    """
    n = len(root)
    std = assumed.std[:, None] * jnp.exp(TRUST_IN_GROWTH * noise.growth * leaning(n, root.dtype)[:, None])
    careful = jnp.clip(noise.correlation + caution * noise.deviation, -MOST_CORRELATION, (1 + MOST_CORRELATION) / 2)
    odds = noise.odds * odds_of(careful) / odds_of(noise.correlation)
    correlation = jnp.minimum(correlation_of(assumed.odds[:, None] * odds), MOST_WHITENED)

    def add(state, given):
        previous, reach = state
        row, there, rho = given
        rho = rho * reach
        white = jnp.where(there, (row - rho * previous) / jnp.sqrt(1 - rho * rho), 0)
        return (jnp.where(there, row, previous), jnp.where(there, 1, rho)), white

    rows = jnp.stack(columns, axis=1) / std[:, None]
    nothing = jnp.zeros_like(rows[0])  # under `shard_map` it differs between devices, as the sums do
    white = lax.scan(add, (nothing, nothing[0]), (rows, root > 0, correlation))[1]
    return [white[:, k] for k in range(len(columns))]


def event_gain(assumed: Noise, noise: CurveNoise, root, apart, e):
    """What a curve explains beyond a constant, in `whitened` losses.

    Args:
        assumed, noise: what is taken for granted, and what each curve adds.
        root: (checkpoints, curves) roots of the weights.
        apart, e: (checkpoints, curves) losses around their mean, and residuals, times them.

    Returns:
        Sum of squares of the whitened residuals; by how much it is smaller than that of the best constant, without the
        two neighbouring checkpoints that speak most for the curve, for which that constant is not the best either: one
        outlier is no event.
    """
    losses, constant, left = whitened(assumed, noise, CAUTION, root, (apart, root, e))
    square = jnp.sum(jnp.square(constant), axis=0)
    level = jnp.sum(losses * constant, axis=0) / jnp.where(square > 0, square, 1)
    gains = jnp.square(losses - level * constant) - jnp.square(left)
    most, moved, taken = _best_pair(gains, (losses - level * constant) * constant, jnp.square(constant))
    kept = jnp.where(most > 0, square - taken, 0)
    level_gain = jnp.where(kept > 0, jnp.square(moved) / jnp.where(kept > 0, kept, 1), 0)
    whole = _counted(root) * jnp.sum(gains, axis=0)
    return jnp.sum(jnp.square(left), axis=0), jnp.maximum(whole - jnp.maximum(most, 0) - level_gain, 0)


def second_gain(assumed: Noise, noise: CurveNoise, root, e, basis):
    """What a step between two checkpoints explains beyond a curve, in `whitened` residuals.

    The step is the one that lowers the rss most. The noise is that of what it leaves, for a second event in the
    residuals looks like noise that persists; with too few points to tell a step from noise, that of the residuals.

    Args:
        assumed, noise: what is taken for granted, and what each curve adds.
        root: (checkpoints, curves) roots of the weights.
        e: (checkpoints, curves) residuals times them.
        basis: (coefficients, checkpoints, curves) orthonormal columns that the fit took out of the losses.

    Returns:
        Sum of squares of the whitened residuals that the step leaves; by how much it is smaller than without the step,
        without the two neighbouring checkpoints that speak most for it.
    """
    height, step = best_step(root, e, basis)
    size = len(basis) + STEP_PARAMETERS
    enough = jnp.sum(root > 0, axis=0) >= POINTS_A_PARAMETER * size
    beside = noise_of(assumed, size, root, e - height * step)
    noise = CurveNoise(*(jnp.where(enough, new, old) for new, old in zip(beside, noise, strict=True)))
    left, step = whitened(assumed, noise, SECOND_CAUTION, root, (e, step))
    square = jnp.sum(jnp.square(step), axis=0)
    height = jnp.sum(left * step, axis=0) / jnp.where(square > 0, square, 1)
    gains = height * step * (2 * left - height * step)
    whole = jnp.square(height) * square
    most = _best_pair(gains)[0]
    rss = jnp.sum(jnp.square(left - height * step), axis=0)
    return rss, jnp.maximum(_counted(root) * whole - jnp.maximum(most, 0), 0)


def best_step(root, e, basis):
    """The step between two checkpoints that lowers the rss most, in what the curve's own columns leave of it.

    For the step up to checkpoint k the rss falls by ``(Σ root e)² / (Σ root² - |Σ root q|²)``, sums over the
    checkpoints up to k.

    Returns:
        Its height (curves) and what is left of its column (checkpoints, curves); 0 where there is none.
    """
    sums = _running_sums(jnp.stack([root * e, jnp.square(root), *(root * q for q in basis)], axis=1))
    along, square, passed = sums[:, 0], sums[:, 1], jnp.moveaxis(sums[:, 2:], 1, 0)
    left = square - jnp.sum(jnp.square(passed), axis=0)
    number = jnp.maximum(jnp.sum(root > 0, axis=0), 1)
    seen = left >= LEAST_STEP * square[-1] / number
    left = jnp.where(seen, left, 1)
    gain = jnp.where(seen, jnp.square(along) / left, 0)
    best = _first_of_largest(gain)[None]
    found = jnp.max(gain, axis=0) > 0

    def at_best(values):
        return jnp.take_along_axis(values, best, axis=0)[0]

    up_to = root * (jnp.arange(len(root))[:, None] <= best)
    column = up_to - sum(q * at_best(p) for q, p in zip(basis, passed, strict=True))
    return jnp.where(found, at_best(along) / at_best(left), 0), jnp.where(found, column, 0)


def _running_sums(values):
    """Sums over the checkpoints up to each one, the first axis."""
    if jax.default_backend() != "cpu":
        return jnp.cumsum(values, axis=0)

    # There XLA adds the same up many times over for `cumsum`.
    def add(total, row):
        return total + row, total + row

    return lax.scan(add, jnp.zeros_like(values[0]), values)[1]


def _first_of_largest(values):
    """`argmax` over the first axis, by two reductions that a CPU does many curves at a time."""
    place = jnp.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    return jnp.min(jnp.where(values == jnp.max(values, axis=0), place, len(values) - 1), axis=0)


def _counted(root):
    """The fraction of a gain that is not rounding."""
    return 1 - ROUNDING * jnp.finfo(root.dtype).eps


def _best_pair(gains, *others):
    """The largest gain of a checkpoint or of two neighbouring ones, and the sums of other arrays over the same."""
    curves = gains.shape[1]
    with_last = jnp.concatenate([jnp.zeros((1, curves), bool), gains[:-1] > 0])
    pairs = [a + jnp.where(with_last, jnp.roll(a, 1, axis=0), 0) for a in (gains, *others)]
    best = _first_of_largest(pairs[0])[None]
    return [jnp.take_along_axis(a, best, axis=0)[0] for a in pairs]
