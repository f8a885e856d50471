"""The search for a law's coordinates: what is minimised, where it begins, and the best that is found."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...fitting import LeastSquaresOptions, least_squares
from ...linalg.small import solve
from .interface import ScheduleLaw

#: Exponents from which every fit begins; linear least squares gives the other parameters of the base.
EXPONENTS = (0.15, 0.3, 0.5, 0.8)
#: A linear start must be positive: at least this fraction of the loss.
LEAST_START = 1e-2
#: Coordinates stay this far (in logarithms) from the start: beyond, the data do not limit them.
REACH = 8.0


def best_coordinates(law, options, history, loss, weights, centre, shrinkage):
    """The best of several starts, as a `LeastSquaresFit` of the coordinates."""
    starts = _starts(law, options, history, loss, weights)
    args = (history, jnp.log(loss), centre, shrinkage)
    if shrinkage is not None:
        weights = jnp.concatenate([weights, jnp.ones_like(shrinkage)])
    refine = functools.partial(
        least_squares, _residual(law, options.huber), weights=weights, options=LeastSquaresOptions(options.max_steps)
    )
    fits = jax.vmap(lambda start: refine(start, *args, bounds=(start - REACH, start + REACH)))(starts)
    best = jnp.argmin(jnp.where(jnp.isfinite(fits.rss), fits.rss, jnp.inf))
    return jax.tree.map(lambda leaf: leaf[best], fits)


@functools.cache
def _residual(law: ScheduleLaw, huber: float | None):
    """The residual that `least_squares` is given: one object for one law, so that it compiles once."""

    def residual(coordinates, history, log_loss, centre, shrinkage):
        rows = robust(log_loss - jnp.log(law.predict(law.named(coordinates), history)), huber)
        if shrinkage is None:
            return rows
        return jnp.concatenate([rows, shrinkage * (coordinates - centre)])

    return residual


def robust(residuals, huber: float | None):
    """Residuals whose squares are twice Huber's loss."""
    if huber is None:
        return residuals
    size = jnp.abs(residuals)
    far = size > huber
    return jnp.where(far, jnp.sign(residuals) * jnp.sqrt(huber * (2 * jnp.where(far, size, huber) - huber)), residuals)


def _starts(law, options, history, loss, weights) -> Float[Array, "starts p"]:
    """The best coordinates of a grid: exponents and shapes given, the other parameters by linear least squares."""
    shapes = jnp.asarray(law.shape_grid(), loss.dtype)
    exponents = jnp.asarray(EXPONENTS, loss.dtype)
    root = jnp.sqrt(jnp.where(weights > 0, weights, 0.0))
    axis = law.axis(history)
    # Columns of order 1: the axis in units of its geometric mean, rates in units of the highest.
    unit, peak = jnp.exp(jnp.mean(jnp.log(axis))), jnp.max(history.learning_rate)

    def linear(lagged, exponent):
        columns = [jnp.ones_like(loss), (axis / unit) ** -exponent]
        if law.has_excess:
            columns.append(lagged / peak * loss**law.noise_power)
        matrix = jnp.stack(columns, axis=1) * root[:, None]
        size = solve(matrix, root * loss)
        least = LEAST_START * jnp.min(loss) * jnp.array([10.0, 1.0, jnp.min(loss) ** -law.noise_power])[: len(columns)]
        return jnp.maximum(size, least)

    def start(shape, exponent):
        named = {name: shape[i] for i, name in enumerate(law.shapes)}
        size = linear(law.lagged_rate(named, history) if law.has_excess else None, exponent)
        params = {"floor": size[0], "coefficient": size[1] * unit**exponent, "exponent": exponent, **named}
        if law.has_excess:
            params["excess"] = size[2] / peak
        coordinates = law.coordinates(params)
        left = _residual(law, options.huber)(coordinates, history, jnp.log(loss), None, None)
        return coordinates, jnp.sum(jnp.where(weights > 0, weights * left**2, 0.0))

    grid, rss = jax.vmap(lambda shape: jax.vmap(lambda exponent: start(shape, exponent))(exponents))(shapes)
    _, best = jax.lax.top_k(-rss.ravel(), min(options.starts, rss.size))
    return grid.reshape(rss.size, -1)[best]
