"""Courses of the position law's shape, refined jointly on the losses of all positions and checkpoints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ...fitting import LeastSquaresFit, LeastSquaresOptions, least_squares
from ...pytrees import pytree, static
from ..laws.residuals import autocorrelation, independent_rows
from .courses import Evolution
from .forms import Form

#: The position law's coordinates, see `PositionLaw.coordinates`.
COORDINATES = ("head", "turn")


@pytree
class ShapeCourse:
    """How the loss deviates from its mean over positions, at any step.

        ``deviation(i) = h(i) - mean of h,  h(i) = head / (1 + turn·(i - 1))``

    Attributes:
        fit: of both courses' parameters, ``{"head": ..., "turn": ...}``; its covariance takes residuals as
            independent.
        inflation: what the variance grows by as residuals of neighbouring checkpoints are alike: they are of the
            same tokens.
        reference: the step in units of which forms count.
        forms: of head and turn (static).
    """

    fit: LeastSquaresFit
    inflation: Float[Array, ""]
    reference: Float[Array, ""]
    forms: tuple[Form, Form] = static()

    def deviation(
        self, step: Float[Array, " times"], position: Float[Array, " positions"]
    ) -> tuple[Float[Array, "times positions"], Float[Array, "times positions"]]:
        """Deviation from the mean over positions and its standard error, nat."""
        flat, restore = ravel_pytree(self.fit.params)
        x, covariance = step / self.reference, jnp.nan_to_num(self.fit.covariance) * self.inflation

        def at(values):
            shape = _shape(self.forms, restore(values), x, position)
            return shape - jnp.mean(shape, axis=1, keepdims=True)

        slopes = jax.jacfwd(at)(flat)
        variance = jnp.einsum("tpi,ij,tpj->tp", slopes, covariance, slopes, precision="highest")
        return at(flat), jnp.sqrt(jnp.maximum(variance, 0))


def refine_shape(
    step: Float[np.ndarray, " checkpoints"],
    position: Float[np.ndarray, " positions"],
    mean: Float[np.ndarray, "checkpoints positions"],
    stderr: Float[np.ndarray, "checkpoints positions"] | None,
    courses: dict[str, Evolution],
) -> ShapeCourse:
    """Fits the parameters of both courses to all position means at once, each checkpoint's level free.

    Starts from the two-stage fit: the hyperbola of each checkpoint, then a form for each coordinate. Levels are
    eliminated by centring, so that what the mean does, by whatever schedule, does not disturb the shape.

    Args:
        step: (checkpoints,) above 0, increasing.
        position: (positions,) from 1.
        mean: (checkpoints, positions) mean losses, nat; NaN where none was measured.
        stderr: their standard errors; ``None``: all alike.
        courses: `Evolution` of ``head`` and ``turn`` over the same steps.
    """
    chosen = [_form_of(courses[name]) for name in COORDINATES]
    forms = chosen[0], chosen[1]
    start = {name: courses[name].fits[form.name].params for name, form in zip(COORDINATES, forms, strict=True)}
    first = max(float(courses[name].start) for name in COORDINATES)
    values = jnp.asarray(mean, jnp.float32)
    errors = jnp.ones_like(values) if stderr is None else jnp.asarray(stderr, jnp.float32)
    counts = jnp.isfinite(values) & (errors > 0) & jnp.asarray(step >= first)[:, None]
    weights = jnp.where(counts, 1 / jnp.square(jnp.where(counts, errors, 1)), 0)
    x, places = (jnp.asarray(a, jnp.float32) for a in (step / step[-1], position))
    bounds = [form.limits(start[name]) for name, form in zip(COORDINATES, forms, strict=True)]
    lower, upper = (dict(zip(COORDINATES, side, strict=True)) for side in zip(*bounds, strict=True))
    data = x, places, jnp.where(counts, values, 0), weights
    fit = least_squares(
        *(_residual(forms), start, *data),
        bounds=(lower, upper),
        weights=(weights > 0).ravel().astype(jnp.float32),
        options=LeastSquaresOptions(max_steps=60),
    )
    return ShapeCourse(fit, _inflation(_residual(forms), fit.params, data), jnp.float32(step[-1]), forms)


def _form_of(course: Evolution) -> Form:
    return course.forms[int(course.chosen)]


def _shape(forms, params, x, position):
    head, turn = (form.curve(params[name], x, None) for name, form in zip(COORDINATES, forms, strict=True))
    return head[:, None] / (1 + jnp.maximum(turn, 0)[:, None] * (position - 1))


@functools.cache
def _residual(forms: tuple[Form, Form]):
    """One object for one pair of forms, so that it compiles once."""

    def residual(params, x, position, values, weights):
        shape = _shape(forms, params, x, position)
        left = values - shape
        level = jnp.sum(weights * left, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), jnp.finfo(values.dtype).tiny)
        return (jnp.sqrt(weights) * (left - level[:, None])).ravel()

    return residual


@functools.partial(jax.jit, static_argnums=0)
def _inflation(residual, params, data) -> Float[Array, ""]:
    """Rows over independent rows, by the correlation from checkpoint to checkpoint."""
    left = residual(params, *data).reshape(data[2].shape)
    counts = data[3] > 0
    correlation = jax.vmap(autocorrelation, in_axes=(1, 1))(left, counts)
    return 1 / independent_rows(1, jnp.mean(correlation))
