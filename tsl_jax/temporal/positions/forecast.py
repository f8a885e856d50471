"""Forecast of the loss at every position of the context."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...jax_switches import with_own_switches
from ...pytrees import pytree
from ..forecasts.mean_loss import LEVELS, Forecast, forecast
from .bins import checked_position
from .courses import Evolution, evolution
from .law import PositionLaw, position_law
from .refinement import COORDINATES, ShapeCourse, refine_shape

#: Standard deviations from the centre to the ends of the bands of `LEVELS`.
_NORMAL = (0.6745, 1.6449)
#: Fewest checkpoints whose shape over positions is determined for a course that rests on data.
_FEW = 8
#: Checkpoints are padded to a multiple of this.
_MULTIPLE = 32


@pytree
class PositionForecast:
    """Loss per position at later steps.

    Attributes:
        position: positions, from 1.
        loss: expected loss, nat: the forecast of the mean plus the position's deviation from it.
        lower: lower ends of the bands of 50 and 90%, nat.
        upper: upper ends.
        two_stage: (rows, positions) the procedure of arXiv 2404.17785 alone, nat: all three parameters of the
            position law extrapolated over the steps.
        total: the forecast of the mean loss over all positions.
        law: position laws of the seen checkpoints.
        courses: `Evolution` over the seen part, by name: of ``head`` and ``turn``, the law's coordinates, and of its
            parameters.
        shape: the same courses, refined jointly.
        determined: how many checkpoints determine both coordinates.
    """

    position: Float[np.ndarray, " positions"]
    loss: Float[np.ndarray, "rows positions"]
    lower: Float[np.ndarray, "levels rows positions"]
    upper: Float[np.ndarray, "levels rows positions"]
    two_stage: Float[np.ndarray, "rows positions"]
    total: Forecast
    law: PositionLaw
    courses: dict[str, Evolution]
    shape: ShapeCourse
    determined: Float[np.ndarray, ""]

    @property
    def warnings(self) -> tuple[str, ...]:
        """In which ways the forecast lies outside what the data support, those of the mean included."""
        if int(self.determined) >= _FEW:
            return self.total.warnings
        return (
            *self.total.warnings,
            f"only {int(self.determined)} of the seen checkpoints determine the shape over positions: what changes in "
            "it is hardly known",
        )


@with_own_switches
def forecast_positions(
    step: Float[np.ndarray, " checkpoints"],
    position: Float[np.ndarray, " positions"],
    mean: Float[np.ndarray, "checkpoints positions"],
    stderr: Float[np.ndarray, "checkpoints positions"] | None,
    at: Float[np.ndarray, " later"],
    **options: Any,
) -> PositionForecast:
    """Forecasts the loss at every position: the mean's forecast, shared out by the position law.

        ``loss(i) = mean + h(i) - mean of h,  h(i) = head/(1 + turn·(i - 1))``

    Two stages: the hyperbola of every seen checkpoint; then a course over the steps for each of its two coordinates
    (`PositionLaw.coordinates`), by the form that predicts best from rolling origins. Then the parameters of both
    courses are refined jointly, on the losses of all positions and checkpoints at once. The mean over positions is
    forecast by itself, in place of the floor's course, which knows no schedule. The bands hold the mean's uncertainty,
    the courses' (Laplace) and, of each position, the scatter of the last seen checkpoints around the position law.

    Args:
        step: (checkpoints,) steps of the seen checkpoints, increasing.
        position: (positions,) from 1, increasing.
        mean: (checkpoints, positions) mean losses, nat; NaN where none was measured.
        stderr: (checkpoints, positions) their standard errors; ``None``: all alike.
        at: (later,) steps to forecast.
        **options: of `forecast`: learning_rate, prior, laws, key, paths.

    Returns:
        `PositionForecast`.

    Raises:
        ValueError: what `position_law`, `evolution` (at least 6 checkpoints) and `forecast` refuse.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import forecast_positions
        >>> step, position = np.linspace(100.0, 2000.0, 20), np.arange(1.0, 33.0)
        >>> loss = 3 / (1 + 0.5 * position) + 3 + 20 * step[:, None] ** -0.5
        >>> found = forecast_positions(step, position, loss, None, np.array([4000.0]))
        >>> abs(round(float(found.loss[0, 0] - found.loss[0, -1]) - (2 - 3 / 17), 2))
        0.0

    Source: arXiv 2404.17785.
    """
    step, values = np.asarray(step, np.float64), np.asarray(mean, np.float64)
    places: Any = checked_position(position)
    if values.ndim != 2 or values.shape != (len(step), len(places)):
        raise ValueError(f"mean: got shape {values.shape}, expected (checkpoints, positions), {len(step), len(places)}")
    kept = step > 0
    known_step: Any = step[kept]
    values = values[kept]
    errors = None if stderr is None else np.asarray(stderr, np.float64)[kept]
    law = _position_law(places, values, errors)
    coordinates, covariance = law.coordinates()
    course = dict(zip(COORDINATES, np.moveaxis(np.asarray(coordinates), -1, 0), strict=True))
    error = dict(zip(COORDINATES, np.sqrt(np.diagonal(np.asarray(covariance), 0, -2, -1)).T, strict=True))
    course |= law.params
    courses = evolution(known_step, course, error | law.stderr)
    shape = refine_shape(known_step, places, values, errors, courses)
    total = forecast(known_step, np.nanmean(values, axis=1), at, **options)
    later = jnp.asarray(total.step, jnp.float32)
    above, doubt = (np.asarray(a) for a in shape.deviation(later, jnp.asarray(places, jnp.float32)))
    beyond, scatter = _beyond(known_step, places, values, shape)
    mean_path = np.asarray(total.mean)
    loss = mean_path[:, None] + above + beyond
    width = [np.asarray(side) - mean_path for side in (total.lower, total.upper)]
    normal = np.asarray(_NORMAL)[: len(LEVELS), None, None] * np.hypot(doubt, scatter)
    lower, upper = (
        loss + sign * np.sqrt(np.square(side)[:, :, None] + np.square(normal))
        for sign, side in zip((-1, 1), width, strict=True)
    )
    determined = np.asarray(np.sum(np.all([np.isfinite(error[name]) for name in COORDINATES], axis=0)))
    two_stage = _two_stage(courses, later, places)
    return PositionForecast(places, loss, lower, upper, two_stage, total, law, courses, shape, determined)


def _position_law(places, values, errors) -> PositionLaw:
    """The law of every checkpoint; empty ones are added meanwhile, so that what is compiled serves other lengths."""
    number = len(values)

    def padded(table):
        more = np.full((-number % _MULTIPLE, table.shape[1]), np.nan)
        return jnp.asarray(np.concatenate([table, more]), jnp.float32)

    law = position_law(places, padded(values), None if errors is None else padded(errors))
    return jax.tree.map(lambda leaf: leaf[:number], law)


def _beyond(step, places, values, shape: ShapeCourse) -> tuple[np.ndarray, np.ndarray]:
    """What the last checkpoints say of each position beyond the law, and its scatter.

    It stays, as it comes from the same tokens.
    """
    fitted, _ = shape.deviation(jnp.asarray(step, jnp.float32), jnp.asarray(places, jnp.float32))
    off = (values - np.asarray(fitted))[-max(3, len(step) // 4) :]
    off = off - np.nanmean(off, axis=1, keepdims=True)
    return np.nanmean(off, axis=0), np.nanstd(off, axis=0)


def _two_stage(courses: dict[str, Evolution], later, places) -> np.ndarray:
    """Amplitude, rate and floor extrapolated, each by itself."""
    course = {name: np.asarray(courses[name].predict(later))[:, None] for name in ("amplitude", "rate", "floor")}
    return course["floor"] + course["amplitude"] / (1 + np.maximum(course["rate"], 0) * places)
